// One request to an HTTPS server, on a connection of its own: looks the name up, dials (or asks a
// proxy to), checks the certificate, sends, reads the answer. For APIs that are asked now and then
// (ACME), not for load.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "crypto/tls_context.h"
#include "flow/duplex.h"
#include "flow/proxied_dialer.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "proto/http/message.h"
#include "proto/http/response_reader.h"

namespace adit::flow {

class HttpsClient final : private DuplexListener {
 public:
  // Called once, as the last thing and never during fetch(); the client may be destroyed in it.
  using Done = Delegate<void(Result<http::Response>)>;

  // `tls` outlives the client and says whom to trust (crypto::Verify::WebPki).
  // `proxy`, if not null, too.
  HttpsClient(io::Loop& loop, io::Resolver& resolver, const crypto::TlsContext& tls,
              const HttpProxy* proxy, Done done);
  ~HttpsClient();
  HttpsClient(const HttpsClient&) = delete;
  HttpsClient& operator=(const HttpsClient&) = delete;

  // Once. Beyond the deadline the result is ETIMEDOUT, wherever it stands.
  void fetch(const http::Request& request, Deadline deadline);

 private:
  void on_dialled(Result<std::unique_ptr<Duplex>> stream);
  void on_readable() override;
  void on_writable() override;
  void on_failed(const Error& error) override;
  void on_timer();
  void push();
  void fail_later(Error error);
  void finish(Result<http::Response> result);

  io::Loop& loop_;
  const crypto::TlsContext& tls_;
  Done done_;
  const HttpProxy* proxy_;
  ProxiedDialer dialer_;
  io::Timer timer_;                // the deadline, or a failure that waits to be said
  std::optional<Error> failure_;
  std::string host_, text_;        // text_: the request
  std::size_t sent_ = 0;
  std::unique_ptr<Duplex> stream_;
  std::optional<http::ResponseReader> reader_;
};

}  // namespace adit::flow
