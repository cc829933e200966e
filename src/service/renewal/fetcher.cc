#include "service/renewal/fetcher.h"

#include "base/limits_acme.h"

namespace adit::service {

HttpsFetcher::HttpsFetcher(io::Loop& loop, io::Resolver& resolver, std::string roots_pem_file,
                           std::optional<flow::HttpProxy> proxy)
    : loop_(loop),
      resolver_(resolver),
      roots_pem_file_(std::move(roots_pem_file)),
      proxy_(std::move(proxy)),
      failed_(loop, Delegate<void()>::to<&HttpsFetcher::on_failure>(this)) {}

void HttpsFetcher::fetch(const http::Request& request, Done done) {
  done_ = done;
  client_.reset();
  if (!tls_) {
    crypto::ClientTls options;
    options.alpn = {"http/1.1"};
    options.roots_pem_file = roots_pem_file_;
    auto made = crypto::TlsContext::client(options);
    if (!made) {
      failure_ = std::move(made).error();
      return failed_.set(loop_.now());
    }
    tls_.emplace(std::move(*made));
  }
  client_ = std::make_unique<flow::HttpsClient>(
      loop_, resolver_, *tls_, proxy_ ? &*proxy_ : nullptr,
      flow::HttpsClient::Done::to<&HttpsFetcher::on_done>(this));
  client_->fetch(request, Deadline::after(loop_.now(), limits::kHttpDeadline));
}

void HttpsFetcher::on_failure() {
  CHECK(failure_);
  on_done(*failure_);
}

// The client stays until the next request: this may be a call from inside it.
void HttpsFetcher::on_done(Result<http::Response> result) { done_(std::move(result)); }

void HttpsFetcher::rest() {
  client_.reset();
  tls_.reset();
  failed_.stop();
}

}  // namespace adit::service
