// Connection ids that we choose: 18 bytes, the first of which names the thread that owns the
// connection, so that a datagram that reaches another thread's socket can be handed over
// (architecture: Loop).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/bytes.h"

namespace adit::quic {

inline constexpr std::size_t kConnectionIdBytes = 18;

struct ConnectionId {
  std::array<std::uint8_t, 20> bytes{};
  std::uint8_t length = 0;

  auto operator<=>(const ConnectionId&) const = default;
  Bytes view() const { return {bytes.data(), length}; }
  static ConnectionId of(Bytes in) {
    ConnectionId id;
    id.length = static_cast<std::uint8_t>(in.size() > 20 ? 20 : in.size());
    for (std::size_t i = 0; i < id.length; ++i) id.bytes[i] = in[i];
    return id;
  }
};

struct ConnectionIdHash {
  std::size_t operator()(const ConnectionId& id) const {
    return std::hash<std::string_view>{}(as_text(id.view()));
  }
};

}  // namespace adit::quic
