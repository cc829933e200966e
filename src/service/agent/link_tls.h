// The TLS contexts of an agent's links: for each carrier one that verifies relays by the public CAs
// and one that leaves the judgement to the key's owner. Loading the CAs costs some ten
// milliseconds, so a context is made when it is first asked for.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "base/result.h"
#include "crypto/tls_context.h"

namespace adit::service {

// From the best to the one that passes most networks.
enum class LinkCarrier : std::uint8_t {
  Quic,
  H2,
  Ws,  // HTTP/2 in TLS in a WebSocket over HTTPS
};

class AgentTls {
 public:
  // The agent's own certificate and key; `roots_pem_file` empty: the system's.
  AgentTls(std::string certificate_pem, std::string key_pem, std::string roots_pem_file);

  // They point into this object.
  Result<const crypto::TlsContext*> by_key(LinkCarrier carrier) { return get(carrier, false); }
  Result<const crypto::TlsContext*> web_pki(LinkCarrier carrier) { return get(carrier, true); }
  // Of the HTTPS around a WebSocket: it verifies nobody and shows no key.
  Result<const crypto::TlsContext*> https();

 private:
  Result<const crypto::TlsContext*> get(LinkCarrier carrier, bool web_pki);

  const std::string certificate_pem_, key_pem_, roots_pem_file_;
  std::array<std::optional<crypto::TlsContext>, 4> contexts_;
  std::optional<crypto::TlsContext> https_;
};

}  // namespace adit::service
