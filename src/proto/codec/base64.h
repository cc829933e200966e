// Base64 (RFC 4648 §4): the alphabet with + and /, padded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace adit::codec {

constexpr std::size_t base64_size(std::size_t bytes) { return (bytes + 2) / 3 * 4; }
// Of what so many characters may hold at most.
constexpr std::size_t base64_bytes_max(std::size_t characters) { return characters / 4 * 3; }

// `out` has room for base64_size(in.size()); the two do not overlap.
void base64_encode(Bytes in, char* out);
// Appends.
void base64_encode(Bytes in, std::string& out);
std::string base64_encode(Bytes in);

// Where and why a text is not what an encoder would have written.
struct Base64Fault {
  enum class Kind : std::uint8_t { Symbol, Length, LastSymbol, Padding };
  Kind kind = Kind::Length;
  std::size_t at = 0;       // offset; the number of characters for Length
  std::uint8_t symbol = 0;  // of Symbol and LastSymbol

  std::string text() const;  // "Invalid symbol 37, offset 2."
};

struct Base64Decoded {
  std::size_t size = 0;  // bytes written; 0 after a fault
  std::optional<Base64Fault> fault;

  explicit operator bool() const { return !fault; }
};

// Strict: whole quads, padding where it belongs, no other characters, and no bits set that are not
// used (RFC 4648 §3.5). `out` has room for base64_bytes_max(in.size()) and may be in.data(): text
// is decoded in place then. What `out` holds after a fault is not said.
Base64Decoded base64_decode(std::string_view in, std::uint8_t* out);
// Appends; leaves `out` as it was after a fault.
std::optional<Base64Fault> base64_decode(std::string_view in, ByteVector& out);

// The portable code alone, for tests and comparisons: what the others must agree with.
void base64_encode_plain(Bytes in, char* out);
Base64Decoded base64_decode_plain(std::string_view in, std::uint8_t* out);

}  // namespace adit::codec
