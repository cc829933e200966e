// One visitor of an HTTP service: TLS has ended here, and each request is forwarded by itself.
#pragma once

#include <memory>
#include <string>

#include "flow/http_connection.h"
#include "proto/proxy_header/proxy_header.h"
#include "service/agent/http_service.h"

namespace adit::service {

class HttpForward;

class HttpVisit final : private flow::HttpHandler {
 public:
  // Called once, as the last thing; the visit may be destroyed in it.
  using Done = Delegate<void()>;

  // `visit`: the relay's id of the visitor.
  HttpVisit(HttpService& service, const ProxiedConnection& from, std::uint64_t visit,
            std::string sni, std::unique_ptr<flow::TlsStream> stream, Done done);
  ~HttpVisit();
  void start() { connection_->start(); }

  std::uint64_t bytes_in() const { return bytes_in_; }    // of bodies, from the visitor
  std::uint64_t bytes_out() const { return bytes_out_; }

 private:
  friend class HttpForward;

  void on_request(std::unique_ptr<flow::HttpExchange> exchange) override;
  void on_connection_over() override;
  void on_forward_over(HttpForward& forward);
  // A request that came to nothing, for `adit explain` and the log.
  void note(const http::RequestHead& request, std::string_view outcome);

  HttpService& service_;
  const ProxiedConnection from_;
  const std::uint64_t visit_;
  const std::string sni_;
  const Done done_;
  std::uint64_t bytes_in_ = 0, bytes_out_ = 0;
  bool connection_over_ = false;
  std::unique_ptr<flow::HttpConnection> connection_;
  OwnedList<HttpForward> forwards_;
};

}  // namespace adit::service
