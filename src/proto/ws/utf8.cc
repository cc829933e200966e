#include "proto/ws/utf8.h"

namespace adit::ws {

bool Utf8Check::feed(Bytes in) {
  for (const std::uint8_t b : in) {
    if (left_ > 0) {
      if (b < low_ || b > high_) return false;
      low_ = 0x80;
      high_ = 0xbf;
      --left_;
      continue;
    }
    if (b < 0x80) continue;
    // RFC 3629 §4: no overlong forms, no surrogates, nothing beyond U+10FFFF.
    if (b >= 0xc2 && b <= 0xdf) {
      left_ = 1;
    } else if (b >= 0xe0 && b <= 0xef) {
      left_ = 2;
      if (b == 0xe0) low_ = 0xa0;
      if (b == 0xed) high_ = 0x9f;
    } else if (b >= 0xf0 && b <= 0xf4) {
      left_ = 3;
      if (b == 0xf0) low_ = 0x90;
      if (b == 0xf4) high_ = 0x8f;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace adit::ws
