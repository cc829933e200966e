#include "flow/http_connection.h"

#include "flow/http1_connection.h"
#include "flow/http2_connection.h"
#include "flow/witness.h"

namespace adit::flow {

namespace {

// Waits for the client's first bytes, when its handshake is over, and is then one or the other.
class ByAlpn final : public HttpConnection, private DuplexListener {
 public:
  ByAlpn(io::Loop& loop, HttpHandler& handler, std::unique_ptr<TlsStream> stream)
      : loop_(loop),
        handler_(handler),
        stream_(std::move(stream)),
        timer_(loop, Delegate<void()>::to<&ByAlpn::over>(this)) {
    stream_->set_listener(this);
  }
  ~ByAlpn() override {
    if (stream_ != nullptr) stream_->set_listener(nullptr);
  }
  void start() override {
    stream_->start();
    timer_.set(loop_.now() + limits::kHttpHeadDeadline);
  }
  void drain() override {
    if (chosen_ != nullptr) return chosen_->drain();
    timer_.set(loop_.now());
  }

 private:
  void on_readable() override {
    if (stream_->at_end()) return over();
    timer_.stop();
    const bool h2 = stream_->session().alpn() == "h2";
    chosen_ = h2 ? http2(loop_, handler_, std::move(stream_))
                 : http1(loop_, handler_, std::move(stream_), "https");
    chosen_->start();
  }
  void on_writable() override {}
  void on_failed(const Error&) override {
    stream_->abort();
    over();
  }
  void over() { handler_.on_connection_over(); }  // may destroy this

  io::Loop& loop_;
  HttpHandler& handler_;
  std::unique_ptr<TlsStream> stream_;
  std::unique_ptr<HttpConnection> chosen_;
  io::Timer timer_;
};

}  // namespace

std::unique_ptr<HttpConnection> HttpConnection::over_tls(io::Loop& loop, HttpHandler& handler,
                                                         std::unique_ptr<TlsStream> stream) {
  return std::make_unique<ByAlpn>(loop, handler, std::move(stream));
}

std::unique_ptr<HttpConnection> HttpConnection::http1(io::Loop& loop, HttpHandler& handler,
                                                      std::unique_ptr<Duplex> stream,
                                                      std::string_view scheme) {
  return std::make_unique<Http1Connection>(loop, handler, std::move(stream), scheme);
}

std::unique_ptr<HttpConnection> HttpConnection::http2(io::Loop& loop, HttpHandler& handler,
                                                      std::unique_ptr<Duplex> stream) {
  return std::make_unique<Http2Connection>(loop, handler, std::move(stream));
}

}  // namespace adit::flow
