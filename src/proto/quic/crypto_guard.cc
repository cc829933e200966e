#include "proto/quic/crypto_guard.h"

#include <algorithm>
#include <utility>

namespace adit::quic {
namespace {

// RFC 8446 §4.
constexpr std::uint8_t kNewSessionTicket = 4;
constexpr std::uint8_t kFinished = 20;
constexpr std::uint8_t kKeyUpdate = 24;

}  // namespace

bool CryptoGuard::allows(Level level, Bytes in) {
  Position& at = positions_[static_cast<std::size_t>(level)];
  while (!in.empty()) {
    if (at.body_left > 0) {
      const std::size_t n = std::min(at.body_left, in.size());
      at.body_left -= n;
      in = in.subspan(n);
      continue;
    }
    at.header[at.header_bytes++] = in[0];
    in = in.subspan(1);
    if (at.header_bytes < at.header.size()) continue;
    at.header_bytes = 0;
    at.body_left =
        (std::size_t{at.header[1]} << 16) | (std::size_t{at.header[2]} << 8) | at.header[3];
    if (!begins(level, at)) return false;
  }
  return true;
}

bool CryptoGuard::begins(Level level, Position& at) const {
  const std::uint8_t type = at.header[0];
  // RFC 9001 §6: TLS KeyUpdate is an error at any time; QUIC has its own.
  if (type == kKeyUpdate) return false;
  switch (level) {
    case Level::Initial: return true;
    // Nothing comes behind Finished with the keys of the handshake.
    case Level::Handshake: return !std::exchange(at.finished, at.finished || type == kFinished);
    // RFC 9001 §4.4: no post-handshake authentication. That leaves the server's tickets.
    case Level::Application: return !server_ && type == kNewSessionTicket;
  }
  return false;
}

}  // namespace adit::quic
