#include "service/agent/tcp_way.h"

#include <utility>

#include "flow/tcp_stream.h"
#include "flow/tls_stream.h"
#include "flow/ws_stream.h"
#include "proto/ws/handshake.h"
#include "service/tunnel/ws_link.h"

namespace adit::service {

namespace {
using Kind = http1::HeadReader::Kind;

constexpr int kProxyAuthenticationRequired = 407;
}  // namespace

TcpWay::TcpWay(io::Loop& loop, io::Resolver& resolver, const TcpWayOptions& options,
               Deadline deadline, Done done)
    : loop_(loop),
      options_(options),
      deadline_(deadline),
      done_(done),
      dialer_(loop, resolver, flow::Dialer::Done::to<&TcpWay::on_dialled>(this)) {
  const HostPort direct{options_.address.ip.text(), options_.address.port};
  dialer_.dial(options_.proxy == nullptr ? direct : options_.proxy->address, deadline);
}

void TcpWay::on_dialled(Result<io::Socket> socket) {
  if (!socket) {
    Error e = std::move(socket).error();
    if (options_.proxy != nullptr) e = std::move(e).with("proxy");
    return done_(std::move(e));
  }
  auto tcp = std::make_unique<flow::TcpStream>(loop_, std::move(*socket), ByteVector());
  if (options_.proxy == nullptr) return on_tcp(std::move(tcp));
  const std::string to = options_.relay.text();
  std::string request = "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n";
  if (!options_.proxy->authorization.empty())
    request += "Proxy-Authorization: " + options_.proxy->authorization + "\r\n";
  connect_ = std::make_unique<flow::HeadExchange>(
      loop_, std::move(tcp), Kind::Response, request + "\r\n", deadline_.instant(),
      flow::HeadExchange::Done::to<&TcpWay::on_connected>(this));
}

void TcpWay::on_connected(Result<http1::Head> answer) {
  if (!answer) return done_(std::move(answer).error().with("proxy"));
  if (answer->status == kProxyAuthenticationRequired) {
    return done_(Error{0, "the proxy wants a user and password (407): name it as "
                          "http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY"});
  }
  if (answer->status < 200 || answer->status > 299) {
    return done_(Error{0, "the proxy does not connect to " + options_.relay.text() + ": " +
                              std::to_string(answer->status)});
  }
  auto stream = connect_->take();
  on_tcp(std::move(stream));
}

std::string TcpWay::host_field() const {
  const bool usual = options_.relay.port == 443;
  return options_.server_name + (usual ? "" : ":" + std::to_string(options_.relay.port));
}

void TcpWay::on_tcp(std::unique_ptr<flow::Duplex> stream) {
  if (options_.kind != LinkCarrier::Ws) return done_(std::move(stream));
  auto session = crypto::TlsSession::client(*options_.https, options_.server_name, {});
  if (!session) return done_(std::move(session).error());
  auto tls = std::make_unique<flow::TlsStream>(loop_, std::move(stream), std::move(*session));
  key_ = ws::new_key();
  std::string target(kWsLinkPath);
  if (options_.affinity) target += "?thread=" + std::to_string(*options_.affinity);
  upgrade_ = std::make_unique<flow::HeadExchange>(
      loop_, std::move(tls), Kind::Response,
      ws::upgrade_request(host_field(), target, key_, kWsLinkProtocol), deadline_.instant(),
      flow::HeadExchange::Done::to<&TcpWay::on_upgraded>(this));
}

void TcpWay::on_upgraded(Result<http1::Head> answer) {
  if (!answer) return done_(std::move(answer).error().with("WebSocket"));
  if (auto ok = ws::check_response(*answer, key_, kWsLinkProtocol); !ok)
    return done_(std::move(ok).error().with("WebSocket"));
  auto stream = upgrade_->take();
  std::unique_ptr<flow::Duplex> inside =
      std::make_unique<flow::WsStream>(loop_, std::move(stream), ws::Role::Client);
  done_(std::move(inside));
}

}  // namespace adit::service
