#include "proto/codec/base64.h"

#include <array>
#include <cstring>

#include "proto/codec/base64_blocks.h"

namespace adit::codec {

namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 0xff;

constexpr std::array<std::uint8_t, 256> kValues = [] {
  std::array<std::uint8_t, 256> out{};
  out.fill(kNone);
  for (std::uint8_t i = 0; i < 64; ++i) out[static_cast<std::uint8_t>(kAlphabet[i])] = i;
  return out;
}();

std::uint8_t value(char c) { return kValues[static_cast<std::uint8_t>(c)]; }

Base64Decoded fault(Base64Fault::Kind kind, std::size_t at, char symbol = 0) {
  return {0, Base64Fault{kind, at, static_cast<std::uint8_t>(symbol)}};
}

// Four symbols to three bytes; false at a character that is none.
bool decode_quad(const char* in, std::uint8_t* out) {
  const unsigned a = value(in[0]), b = value(in[1]), c = value(in[2]), d = value(in[3]);
  if (((a | b | c | d) & 0x80) != 0) return false;
  const unsigned bits = a << 18 | b << 12 | c << 6 | d;
  out[0] = static_cast<std::uint8_t>(bits >> 16);
  out[1] = static_cast<std::uint8_t>(bits >> 8);
  out[2] = static_cast<std::uint8_t>(bits);
  return true;
}

// The last quad, with or without padding, or what there is of it; `at`: its offset.
Base64Decoded decode_end(std::string_view in, std::size_t at, std::uint8_t* out) {
  const std::string_view quad = in.substr(at);
  std::size_t symbols = 0;
  while (symbols < quad.size() && value(quad[symbols]) != kNone) ++symbols;
  for (std::size_t i = symbols; i < quad.size(); ++i)
    if (quad[i] != '=' || i < 2) return fault(Base64Fault::Kind::Symbol, at + i, quad[i]);
  if (symbols == 1) return fault(Base64Fault::Kind::Length, in.size());
  if (quad.size() != 4) return fault(Base64Fault::Kind::Padding, in.size());
  char full[4] = {'A', 'A', 'A', 'A'};
  std::memcpy(full, quad.data(), symbols);
  std::uint8_t bytes[3];
  decode_quad(full, bytes);
  const std::size_t size = symbols - 1;
  if (size < 3 && bytes[size] != 0)
    return fault(Base64Fault::Kind::LastSymbol, at + symbols - 1, quad[symbols - 1]);
  std::memcpy(out, bytes, size);
  return {size, std::nullopt};
}

// From `at`, the offset of a quad; `out`: where its bytes go.
Base64Decoded decode_rest(std::string_view in, std::size_t at, std::uint8_t* out) {
  std::size_t size = 0;
  for (; in.size() - at > 4; at += 4, size += 3) {
    if (decode_quad(in.data() + at, out + size)) continue;
    for (std::size_t i = at;; ++i)
      if (value(in[i]) == kNone) return fault(Base64Fault::Kind::Symbol, i, in[i]);
  }
  if (in.size() == at) return {size, std::nullopt};
  Base64Decoded end = decode_end(in, at, out + size);
  if (end) end.size += size;
  return end;
}

void encode_rest(Bytes in, char* out) {
  const std::uint8_t* at = in.data();
  std::size_t left = in.size();
  for (; left >= 3; left -= 3, at += 3, out += 4) {
    const unsigned bits = unsigned{at[0]} << 16 | unsigned{at[1]} << 8 | at[2];
    out[0] = kAlphabet[bits >> 18];
    out[1] = kAlphabet[bits >> 12 & 63];
    out[2] = kAlphabet[bits >> 6 & 63];
    out[3] = kAlphabet[bits & 63];
  }
  if (left == 0) return;
  const unsigned bits = unsigned{at[0]} << 16 | (left == 2 ? unsigned{at[1]} << 8 : 0u);
  out[0] = kAlphabet[bits >> 18];
  out[1] = kAlphabet[bits >> 12 & 63];
  out[2] = left == 2 ? kAlphabet[bits >> 6 & 63] : '=';
  out[3] = '=';
}

}  // namespace

std::string Base64Fault::text() const {
  const std::string where = std::to_string(symbol) + ", offset " + std::to_string(at) + ".";
  switch (kind) {
    case Kind::Symbol: return "Invalid symbol " + where;
    case Kind::Length: return "Invalid input length: " + std::to_string(at);
    case Kind::LastSymbol: return "Invalid last symbol " + where;
    case Kind::Padding: return "Invalid padding";
  }
  return {};
}

void base64_encode_plain(Bytes in, char* out) { encode_rest(in, out); }

Base64Decoded base64_decode_plain(std::string_view in, std::uint8_t* out) {
  return decode_rest(in, 0, out);
}

void base64_encode(Bytes in, char* out) {
  const std::size_t taken = encode_blocks(in, out);
  encode_rest(in.subspan(taken), out + taken / 3 * 4);
}

void base64_encode(Bytes in, std::string& out) {
  const std::size_t before = out.size();
  out.resize(before + base64_size(in.size()));
  base64_encode(in, out.data() + before);
}

std::string base64_encode(Bytes in) {
  std::string out;
  base64_encode(in, out);
  return out;
}

Base64Decoded base64_decode(std::string_view in, std::uint8_t* out) {
  const std::size_t taken = decode_blocks(in, out);
  Base64Decoded rest = decode_rest(in, taken, out + taken / 4 * 3);
  if (rest) rest.size += taken / 4 * 3;
  return rest;
}

std::optional<Base64Fault> base64_decode(std::string_view in, ByteVector& out) {
  const std::size_t before = out.size();
  out.resize(before + base64_bytes_max(in.size()));
  Base64Decoded decoded = base64_decode(in, out.data() + before);
  out.resize(before + decoded.size);
  return decoded.fault;
}

}  // namespace adit::codec
