// The way to a relay over TCP, up to the stream on which the link's own TLS runs: dialled, or asked
// of an HTTP proxy (CONNECT, RFC 9110 §9.3.6); for LinkCarrier::Ws a WebSocket over HTTPS on top.
//
// The HTTPS around a WebSocket proves nothing and need not: the link's TLS inside it does. So it
// passes a proxy that opens HTTPS, or a front that ends TLS before the relay, and neither sees more
// than ciphertext.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/address.h"
#include "crypto/tls_context.h"
#include "flow/duplex.h"
#include "flow/head_exchange.h"
#include "flow/proxied_dialer.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/agent/link_tls.h"

namespace adit::service {

struct TcpWayOptions {
  LinkCarrier kind = LinkCarrier::H2;
  HostPort relay;                  // as the user named it: a proxy resolves it by itself
  Address address;                 // dialled where there is no proxy
  std::string server_name;         // Host, and SNI of the HTTPS connection
  const flow::HttpProxy* proxy = nullptr;
  const crypto::TlsContext* https = nullptr;  // Ws
  std::optional<std::uint8_t> affinity;       // Ws: the relay's thread that has the session
};

class TcpWay {
 public:
  // Called once, as the last thing; the way may be destroyed in it. Errors are in words for people.
  using Done = Delegate<void(Result<std::unique_ptr<flow::Duplex>>)>;

  // `options` with what they point to outlive it.
  TcpWay(io::Loop& loop, io::Resolver& resolver, const TcpWayOptions& options, Deadline deadline,
         Done done);

 private:
  void on_tcp(Result<std::unique_ptr<flow::Duplex>> stream);
  void on_upgraded(Result<http1::Head> answer);
  std::string host_field() const;

  io::Loop& loop_;
  const TcpWayOptions options_;
  const Deadline deadline_;
  Done done_;
  flow::ProxiedDialer dialer_;
  std::unique_ptr<flow::HeadExchange> upgrade_;
  std::string key_;  // of the WebSocket
};

}  // namespace adit::service
