#include "flow/https_client.h"

#include <cerrno>

#include "flow/tls_stream.h"
#include "proto/http/url.h"

namespace adit::flow {
namespace {

std::string request_text(const http::Request& request, const http::Url& url) {
  std::string out = request.method + " " + url.target + " HTTP/1.1\r\nHost: " + url.authority() +
                    // RFC 8555 §6.1 wants the second.
                    "\r\nConnection: close\r\nUser-Agent: adit\r\n";
  if (!request.accept.empty()) out += "Accept: " + request.accept + "\r\n";
  if (!request.content_type.empty()) out += "Content-Type: " + request.content_type + "\r\n";
  if (request.method == "POST")
    out += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  return out + "\r\n" + request.body;
}

}  // namespace

HttpsClient::HttpsClient(io::Loop& loop, io::Resolver& resolver, const crypto::TlsContext& tls,
                         const HttpProxy* proxy, Done done)
    : loop_(loop),
      tls_(tls),
      done_(done),
      proxy_(proxy),
      dialer_(loop, resolver, ProxiedDialer::Done::to<&HttpsClient::on_dialled>(this)),
      timer_(loop, Delegate<void()>::to<&HttpsClient::on_timer>(this)) {}

HttpsClient::~HttpsClient() {
  if (stream_ != nullptr) stream_->set_listener(nullptr);
}

void HttpsClient::fetch(const http::Request& request, Deadline deadline) {
  timer_.set(deadline.instant());
  auto url = http::parse_https_url(request.url);
  if (!url) return fail_later(url.error());
  host_ = url->to.host;
  text_ = request_text(request, *url);
  reader_.emplace(request.method == "HEAD");
  dialer_.dial(url->to, url->to, proxy_, deadline);
}

void HttpsClient::on_dialled(Result<std::unique_ptr<Duplex>> stream) {
  if (!stream) return fail_later(stream.error());
  auto session = crypto::TlsSession::client(tls_, host_);
  if (!session) return fail_later(session.error());
  stream_ = std::make_unique<TlsStream>(loop_, std::move(*stream), std::move(*session));
  stream_->set_listener(this);
  stream_->start();
  push();
}

void HttpsClient::push() {
  sent_ += stream_->write(as_bytes(text_).subspan(sent_));
}

void HttpsClient::on_writable() {
  if (sent_ < text_.size()) push();
}

void HttpsClient::on_readable() {
  while (true) {
    const Bytes bytes = stream_->readable();
    if (bytes.empty()) break;
    auto need = reader_->feed(bytes);
    if (!need) return finish(need.error());
    if (*need == http::ResponseReader::Need::Done) return finish(reader_->take());
    stream_->consume(bytes.size());
  }
  if (!stream_->at_end()) return;
  auto need = reader_->end();
  if (!need) return finish(need.error());
  finish(reader_->take());
}

void HttpsClient::on_failed(const Error& error) { finish(error); }

void HttpsClient::fail_later(Error error) {
  failure_ = std::move(error);
  timer_.set(loop_.now());
}

void HttpsClient::on_timer() {
  if (failure_) return finish(*failure_);
  finish(Error{ETIMEDOUT, "no answer in time"});
}

void HttpsClient::finish(Result<http::Response> result) {
  timer_.stop();
  if (stream_ != nullptr) {
    stream_->set_listener(nullptr);
    stream_->finish();
  }
  done_(host_.empty() ? std::move(result) : std::move(result).with(host_));
}

}  // namespace adit::flow
