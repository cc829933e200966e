// HTTP/2 frames by hand, for the tests of this room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace adit::flow {

inline std::string frame(int type, int flags, std::uint32_t id, std::string_view payload) {
  std::string out;
  for (const std::size_t v : {payload.size() >> 16, payload.size() >> 8, payload.size()})
    out += static_cast<char>(v & 0xff);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>((id >> shift) & 0xff);
  return out.append(payload);
}

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum : int { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kGoAway = 7 };
enum : int { kEndStream = 1, kEndHeaders = 4 };

// HPACK by indices of its table (RFC 7541, appendix A): GET or POST, https, and literals.
inline std::string head_block(bool is_post, std::string_view path) {
  std::string out = is_post ? "\x83\x87" : "\x82\x87";
  out += '\x04';
  out += static_cast<char>(path.size());
  out.append(path);
  return out + "\x01\x06" "a.test";
}

// A literal with a name of the table's (RFC 7541 §6.2.2).
inline std::string literal(int index, std::string_view value) {
  std::string out(1, static_cast<char>(index));
  if (index >= 15) out = {'\x0f', static_cast<char>(index - 15)};
  out += static_cast<char>(value.size());
  return out.append(value);
}
enum : int { kAuthority = 1, kMethod = 2, kPath = 4, kScheme = 6, kContentLength = 28 };

struct Frame {
  int type, flags;
  std::uint32_t id;
  std::string payload;
};

inline std::vector<Frame> frames_of(std::string_view text) {
  std::vector<Frame> out;
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  while (text.size() >= 9) {
    const std::size_t n = static_cast<std::size_t>(at(0)) << 16 | at(1) << 8u | at(2);
    if (text.size() < 9 + n) break;
    std::uint32_t id = 0;
    for (std::size_t i = 5; i < 9; ++i) id = id << 8 | at(i);
    out.push_back({at(3), at(4), id, std::string(text.substr(9, n))});
    text.remove_prefix(9 + n);
  }
  return out;
}

}  // namespace adit::flow
