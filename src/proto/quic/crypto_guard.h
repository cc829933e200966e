// Looks at the types of the TLS messages in CRYPTO frames before the TLS library does. What QUIC
// forbids behind the handshake must not reach it: a KeyUpdate would make it install keys a second
// time, at which ngtcp2 aborts the process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace adit::quic {

class CryptoGuard {
 public:
  enum class Level : std::uint8_t { Initial, Handshake, Application };

  explicit CryptoGuard(bool receiver_is_server) : server_(receiver_is_server) {}

  // The bytes of one level in their order, in any fragmentation. False: a message that may not come
  // there (TLS alert unexpected_message); what follows is not looked at any more.
  bool allows(Level level, Bytes in);

 private:
  // Where the last call ended: inside a message header (4 bytes, RFC 8446 §4) or body.
  struct Position {
    std::array<std::uint8_t, 4> header{};
    std::size_t header_bytes = 0;
    std::size_t body_left = 0;
    bool finished = false;  // a Finished began
  };
  bool begins(Level level, Position& at) const;

  bool server_;
  std::array<Position, 3> positions_;
};

}  // namespace adit::quic
