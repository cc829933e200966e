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

enum class LinkCarrier : std::uint8_t { Quic, H2 };

class AgentTls {
 public:
  // The agent's own certificate and key; `roots_pem_file` empty: the system's.
  AgentTls(std::string certificate_pem, std::string key_pem, std::string roots_pem_file);

  // Points into this object.
  Result<const crypto::TlsContext*> by_key(LinkCarrier carrier) { return get(carrier, false); }
  Result<const crypto::TlsContext*> web_pki(LinkCarrier carrier) { return get(carrier, true); }

 private:
  Result<const crypto::TlsContext*> get(LinkCarrier carrier, bool web_pki);

  const std::string certificate_pem_, key_pem_, roots_pem_file_;
  std::array<std::optional<crypto::TlsContext>, 4> contexts_;
};

}  // namespace adit::service
