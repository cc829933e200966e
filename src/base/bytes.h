// Byte spans and cursors. Network byte order everywhere; QUIC variable-length integers by RFC 9000
// §16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace adit {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;
using ByteVector = std::vector<std::uint8_t>;

// Empties it and gives its memory back. `v = {}` and clear() keep the memory: the braces become an
// empty initializer_list, which is copied into what is there.
template <class T>
void give_back(std::vector<T>& v) {
  std::vector<T>().swap(v);
}

inline Bytes as_bytes(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
inline std::string_view as_text(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// A cursor over bytes somebody else owns. After the first short read every further read fails, so a
// parser may read a whole structure and ask ok() once.
class Reader {
 public:
  explicit Reader(Bytes in) : in_(in) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return in_.size() - at_; }
  std::size_t position() const { return at_; }
  bool done() const { return ok_ && left() == 0; }

  std::uint8_t u8() { return static_cast<std::uint8_t>(unsigned_be(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(unsigned_be(2)); }
  std::uint32_t u24() { return static_cast<std::uint32_t>(unsigned_be(3)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(unsigned_be(4)); }
  std::uint64_t u64() { return unsigned_be(8); }

  // RFC 9000 §16. Non-minimal encodings are allowed there, and here.
  std::uint64_t varint() {
    if (left() == 0) return fail();
    const std::size_t length = std::size_t{1} << (in_[at_] >> 6);
    if (left() < length) return fail();
    std::uint64_t v = in_[at_] & 0x3f;
    for (std::size_t i = 1; i < length; ++i) v = (v << 8) | in_[at_ + i];
    at_ += length;
    return v;
  }

  Bytes bytes(std::size_t n) {
    if (!ok_ || left() < n) return fail(), Bytes{};
    Bytes out = in_.subspan(at_, n);
    at_ += n;
    return out;
  }
  void skip(std::size_t n) { bytes(n); }

 private:
  std::uint64_t unsigned_be(std::size_t n) {
    std::uint64_t v = 0;
    for (std::uint8_t b : bytes(n)) v = (v << 8) | b;
    return v;
  }
  std::uint64_t fail() {
    ok_ = false;
    return 0;
  }

  Bytes in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

inline constexpr std::uint64_t kVarintMax = (std::uint64_t{1} << 62) - 1;

// Appends to a vector that the caller owns.
class Writer {
 public:
  explicit Writer(ByteVector& out) : out_(out) {}

  void u8(std::uint8_t v) { out_.push_back(v); }
  void u16(std::uint16_t v) { unsigned_be(v, 2); }
  void u24(std::uint32_t v) { unsigned_be(v, 3); }
  void u32(std::uint32_t v) { unsigned_be(v, 4); }
  void u64(std::uint64_t v) { unsigned_be(v, 8); }
  void varint(std::uint64_t v) {
    if (v < 0x40) return unsigned_be(v, 1);
    if (v < 0x4000) return unsigned_be(v | 0x4000, 2);
    if (v < 0x40000000) return unsigned_be(v | 0x80000000u, 4);
    unsigned_be((v & kVarintMax) | 0xc000000000000000u, 8);
  }
  void bytes(Bytes b) { out_.insert(out_.end(), b.begin(), b.end()); }
  void text(std::string_view s) { bytes(as_bytes(s)); }

 private:
  void unsigned_be(std::uint64_t v, std::size_t n) {
    for (std::size_t i = n; i-- > 0;) out_.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
  }

  ByteVector& out_;
};

}  // namespace adit
