// For tests: client hellos built from their parts, right or wrong on purpose.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "base/bytes.h"

namespace adit::test_hello {

inline ByteVector join(std::initializer_list<Bytes> parts) {
  ByteVector out;
  for (Bytes part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

inline ByteVector block8(Bytes data) {
  ByteVector out;
  Writer(out).u8(static_cast<std::uint8_t>(data.size()));
  Writer(out).bytes(data);
  return out;
}

inline ByteVector block16(Bytes data) {
  ByteVector out;
  Writer(out).u16(static_cast<std::uint16_t>(data.size()));
  Writer(out).bytes(data);
  return out;
}

inline ByteVector extension(std::uint16_t type, Bytes data) {
  ByteVector out;
  Writer(out).u16(type);
  return join({out, block16(data)});
}

inline ByteVector name_entry(std::uint8_t type, std::string_view name) {
  return join({ByteVector{type}, block16(as_bytes(name))});
}

inline ByteVector server_name(std::string_view name) {
  return extension(0, block16(name_entry(0, name)));
}

inline ByteVector alpn(std::initializer_list<std::string_view> names) {
  ByteVector list;
  for (std::string_view name : names) Writer(list).bytes(block8(as_bytes(name)));
  return extension(16, block16(list));
}

// A ClientHello up to its extensions.
inline ByteVector body_of_fields(Bytes session_id, Bytes cipher_suites, Bytes compression) {
  ByteVector out = {3, 3};
  for (std::uint8_t i = 0; i < 32; ++i) out.push_back(i);
  return join({out, block8(session_id), block16(cipher_suites), block8(compression)});
}
inline ByteVector body_without_extensions() {
  return body_of_fields(ByteVector(32, 0x5e), ByteVector{0x13, 0x01, 0x13, 0x02}, ByteVector{0});
}

inline ByteVector body(Bytes extensions) {
  return join({body_without_extensions(), block16(extensions)});
}

inline ByteVector message(Bytes body) {
  ByteVector out = {1};
  Writer(out).u24(static_cast<std::uint32_t>(body.size()));
  Writer(out).bytes(body);
  return out;
}

// In records of at most `fragment_max` bytes.
inline ByteVector records(Bytes message, std::size_t fragment_max = 1 << 14) {
  ByteVector out;
  while (!message.empty()) {
    const Bytes fragment = message.first(std::min(fragment_max, message.size()));
    message = message.subspan(fragment.size());
    Writer(out).bytes(ByteVector{22, 3, 1});
    Writer(out).bytes(block16(fragment));
  }
  return out;
}

inline ByteVector stream(Bytes extensions) { return records(message(body(extensions))); }

}  // namespace adit::test_hello
