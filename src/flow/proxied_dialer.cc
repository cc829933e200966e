#include "flow/proxied_dialer.h"

#include <utility>

#include "flow/tcp_stream.h"

namespace adit::flow {

namespace {
constexpr int kProxyAuthenticationRequired = 407;
}  // namespace

ProxiedDialer::ProxiedDialer(io::Loop& loop, io::Resolver& resolver, Done done)
    : loop_(loop),
      done_(done),
      dialer_(loop, resolver, Dialer::Done::to<&ProxiedDialer::on_dialled>(this)) {}

void ProxiedDialer::dial(const HostPort& to, const HostPort& direct, const HttpProxy* proxy,
                         Deadline deadline) {
  to_ = to;
  proxy_ = proxy;
  deadline_ = deadline;
  dialer_.dial(proxy == nullptr ? direct : proxy->address, deadline);
}

void ProxiedDialer::on_dialled(Result<io::Socket> socket) {
  if (!socket) {
    Error e = std::move(socket).error();
    if (proxy_ != nullptr) e = std::move(e).with("proxy");
    return done_(std::move(e));
  }
  auto tcp = std::make_unique<TcpStream>(loop_, std::move(*socket), ByteVector());
  if (proxy_ == nullptr) return done_(std::unique_ptr<Duplex>(std::move(tcp)));
  const std::string to = to_.text();
  std::string request = "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n";
  if (!proxy_->authorization.empty())
    request += "Proxy-Authorization: " + proxy_->authorization + "\r\n";
  connect_ = std::make_unique<HeadExchange>(
      loop_, std::move(tcp), http1::HeadReader::Kind::Response, request + "\r\n",
      deadline_.instant(), HeadExchange::Done::to<&ProxiedDialer::on_connected>(this));
}

void ProxiedDialer::on_connected(Result<http1::Head> answer) {
  if (!answer) return done_(std::move(answer).error().with("proxy"));
  if (answer->status == kProxyAuthenticationRequired) {
    return done_(Error{0, "the proxy wants a user and password (407): name it as "
                          "http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY"});
  }
  if (answer->status < 200 || answer->status > 299) {
    return done_(Error{0, "the proxy does not connect to " + to_.text() + ": " +
                              std::to_string(answer->status)});
  }
  auto stream = connect_->take();
  done_(std::move(stream));
}

}  // namespace adit::flow
