#include "proto/node/base64.h"

#include <array>
#include <cerrno>
#include <string>

#include "base/check.h"

namespace adit::node {

namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 0xff;

constexpr std::array<std::uint8_t, 256> kValues = [] {
  std::array<std::uint8_t, 256> out{};
  out.fill(kNone);
  for (std::size_t i = 0; i < kDigits.size(); ++i)
    out[static_cast<std::uint8_t>(kDigits[i])] = static_cast<std::uint8_t>(i);
  return out;
}();

struct Pair {
  std::uint8_t high, low;
};
// Two digits at a time.
constexpr std::array<Pair, 4096> kPairs = [] {
  std::array<Pair, 4096> out{};
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = {static_cast<std::uint8_t>(kDigits[i >> 6]),
              static_cast<std::uint8_t>(kDigits[i & 63])};
  return out;
}();

Error invalid_symbol(std::string_view text, std::size_t at) {
  return {EINVAL, "Invalid symbol " + std::to_string(static_cast<std::uint8_t>(text[at])) +
                      ", offset " + std::to_string(at) + "."};
}

}  // namespace

void encode_base64(Bytes in, MutableBytes out) {
  CHECK(out.size() >= (in.size() + 2) / 3 * 4);
  const std::uint8_t* from = in.data();
  std::uint8_t* to = out.data();
  std::size_t left = in.size();
  for (; left >= 3; left -= 3, from += 3, to += 4) {
    const unsigned group = static_cast<unsigned>(from[0] << 16 | from[1] << 8 | from[2]);
    const Pair first = kPairs[group >> 12], second = kPairs[group & 0xfff];
    to[0] = first.high;
    to[1] = first.low;
    to[2] = second.high;
    to[3] = second.low;
  }
  if (left == 0) return;
  const unsigned group = static_cast<unsigned>(from[0] << 16 | (left == 2 ? from[1] << 8 : 0));
  const Pair first = kPairs[group >> 12];
  to[0] = first.high;
  to[1] = first.low;
  to[2] = left == 2 ? kPairs[group & 0xfff].high : '=';
  to[3] = '=';
}

Result<ByteVector> decode_base64(std::string_view text) {
  const std::size_t digits = text.find_last_not_of('=') + 1;  // npos + 1 is 0
  if (text.size() - digits > 2) return invalid_symbol(text, digits);
  ByteVector out(text.size() / 4 * 3 + 3);
  std::uint8_t* to = out.data();
  unsigned group = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const std::uint8_t value = kValues[static_cast<std::uint8_t>(text[i])];
    if (value == kNone) return invalid_symbol(text, i);
    group = group << 6 | value;
    if (i % 4 != 3) continue;
    *to++ = static_cast<std::uint8_t>(group >> 16);
    *to++ = static_cast<std::uint8_t>(group >> 8);
    *to++ = static_cast<std::uint8_t>(group);
    group = 0;
  }
  const std::size_t rest = digits % 4;
  if (rest == 1) return Error{EINVAL, "Invalid input length: " + std::to_string(text.size())};
  const std::size_t padding = rest == 0 ? 0 : 4 - rest;
  if (text.size() - digits != padding) return Error{EINVAL, "Invalid padding"};
  if (rest != 0) {
    const unsigned spare = rest == 2 ? 4 : 2;  // bits
    if ((group & ((1u << spare) - 1)) != 0)
      return Error{EINVAL, "Invalid last symbol " +
                               std::to_string(static_cast<std::uint8_t>(text[digits - 1])) +
                               ", offset " + std::to_string(digits - 1) + "."};
    group >>= spare;
    if (rest == 3) *to++ = static_cast<std::uint8_t>(group >> 8);
    *to++ = static_cast<std::uint8_t>(group);
  }
  out.resize(static_cast<std::size_t>(to - out.data()));
  return out;
}

}  // namespace adit::node
