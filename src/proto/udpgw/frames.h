// Frames of the UDP gateway protocol of badvpn and tun2proxy: datagrams to and from any place over
// one byte stream. Network byte order.
//
//   LEN(2) FLAGS(1) CONN_ID(2) [ATYP(1) ADDRESS PORT(2) DATAGRAM]     LEN counts what follows it
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace adit::udpgw {

inline constexpr std::uint8_t kKeepalive = 0x01;
inline constexpr std::uint8_t kData = 0x02;
inline constexpr std::uint8_t kError = 0x20;

// A destination as the client wrote it; answers repeat it so.
struct Target {
  enum class Kind : std::uint8_t { V4 = 1, Name = 3, V6 = 4 };
  Kind kind = Kind::V4;
  std::string address;  // 4 or 16 bytes, or the name (255 bytes at most, any)
  std::uint16_t port = 0;

  bool operator==(const Target&) const = default;
  std::string host() const;  // the address in words, or the name
};

struct Frame {
  std::uint8_t flags = 0;
  std::uint16_t id = 0;
  std::optional<Target> target;  // with kData, unless kKeepalive is set
  Bytes datagram;
};

// Frames out of a stream that is cut anywhere. Holds one frame at most (64 KiB).
class FrameReader {
 public:
  // The next whole frame, whose bytes are taken off the front of `in`; nullopt: `in` is used up.
  // The datagram is valid until the next call, and while `in`'s memory is. Frames that are none
  // (too short, an unknown kind of address) are skipped by their length and counted.
  std::optional<Frame> read(Bytes& in);

  std::uint64_t skipped() const { return skipped_; }
  std::size_t held() const { return held_.size(); }

 private:
  ByteVector held_;  // the beginning of a frame
  bool give_back_ = false;
  std::uint64_t skipped_ = 0;
};

// Appends.
void write_plain(ByteVector& out, std::uint8_t flags, std::uint16_t id);
// `datagram` is cut so that LEN holds it.
void write_data(ByteVector& out, std::uint16_t id, const Target& target, Bytes datagram);

}  // namespace adit::udpgw
