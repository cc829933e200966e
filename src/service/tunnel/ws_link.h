// What relay and agent have to agree on for a link inside a WebSocket.
#pragma once

#include <string_view>

namespace adit::service {

// On the relay's own name. "?thread=N" behind it says where the agent's session is.
inline constexpr std::string_view kWsLinkPath = "/.adit/link";
// The sub-protocol, a token (RFC 6455 §4.1): what runs inside is TLS with ALPN adit-h2/1.
inline constexpr std::string_view kWsLinkProtocol = "adit-h2.1";

}  // namespace adit::service
