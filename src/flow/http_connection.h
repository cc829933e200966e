// The server of one client's HTTP: HTTP/1.1 (RFC 9112) or HTTP/2 (RFC 9113) over any end. Requests
// of HTTP/1 are served one after another, in their order. Deadlines and bounds: base/limits.h.
#pragma once

#include <memory>

#include "flow/http_exchange.h"
#include "flow/tls_stream.h"
#include "io/loop.h"

namespace adit::flow {

class HttpConnection {
 public:
  // By the ALPN that the handshake brings: "h2" or anything else. The context of the session
  // offers what is to be served.
  static std::unique_ptr<HttpConnection> over_tls(io::Loop& loop, HttpHandler& handler,
                                                  std::unique_ptr<TlsStream> stream);
  // `scheme`: of requests that do not say, "https" or "http".
  static std::unique_ptr<HttpConnection> http1(io::Loop& loop, HttpHandler& handler,
                                               std::unique_ptr<Duplex> stream,
                                               std::string_view scheme);
  static std::unique_ptr<HttpConnection> http2(io::Loop& loop, HttpHandler& handler,
                                               std::unique_ptr<Duplex> stream);

  // Exchanges that are left behind do nothing any more, and hear nothing. The client sees what was
  // not over cut.
  virtual ~HttpConnection() = default;
  virtual void start() = 0;
  // No more requests than those under way; on_connection_over follows.
  virtual void drain() = 0;
};

}  // namespace adit::flow
