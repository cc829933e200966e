#include "service/node/sid.h"

#include <cstring>

#include "crypto/digest.h"
#include "crypto/random.h"

namespace adit::service {

namespace {
constexpr std::size_t kTextSize = 36;
bool is_hyphen(std::size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }
}  // namespace

Sid Sid::make() {
  Sid out;
  crypto::random_bytes(out.bytes);
  out.bytes[6] = static_cast<std::uint8_t>((out.bytes[6] & 0x0f) | 0x40);
  out.bytes[8] = static_cast<std::uint8_t>((out.bytes[8] & 0x3f) | 0x80);
  return out;
}

std::optional<Sid> Sid::parse(std::string_view text) {
  if (text.size() != kTextSize) return std::nullopt;
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_hyphen(i)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
      return std::nullopt;
    digits += text[i];
  }
  auto bytes = crypto::hex_decode(digits);
  if (!bytes) return std::nullopt;
  Sid out;
  std::copy(bytes->begin(), bytes->end(), out.bytes.begin());
  return out;
}

std::string Sid::text() const {
  const std::string digits = crypto::hex_encode(bytes);
  std::string out;
  for (const char c : digits) {
    if (is_hyphen(out.size())) out += '-';
    out += c;
  }
  return out;
}

std::size_t SidHash::operator()(const Sid& sid) const {
  std::size_t out = 0;
  std::memcpy(&out, sid.bytes.data(), sizeof out);
  return out;
}

}  // namespace adit::service
