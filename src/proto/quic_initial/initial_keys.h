// The keys of a client's Initial packets (RFC 9001 §5.2, RFC 9369 §3.3): made from its first
// Destination Connection ID, which everybody on the way reads. They keep nothing secret; they make
// packets that are not QUIC's fail.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace adit::quic_initial {

inline constexpr std::uint32_t kVersion1 = 0x00000001;  // RFC 9000
inline constexpr std::uint32_t kVersion2 = 0x6b3343cf;  // RFC 9369

struct InitialKeys {
  std::array<std::uint8_t, 16> key{}, header{};
  std::array<std::uint8_t, 12> iv{};
  bool operator==(const InitialKeys&) const = default;
};

// `version`: one of the two above.
InitialKeys client_initial_keys(std::uint32_t version, Bytes first_dcid);

// One long-header packet that begins at the start of `packet` and ends `packet_number_at` plus the
// header's Length later, where `packet` has to end, too. The plain payload; nothing where it is not
// authentic.
std::optional<ByteVector> open_packet(const InitialKeys& keys, Bytes packet,
                                      std::size_t packet_number_at);

}  // namespace adit::quic_initial
