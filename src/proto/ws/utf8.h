// UTF-8 (RFC 3629) checked as it comes, so that a fault is found at its first byte.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace adit::ws {

class Utf8Check {
 public:
  // False: this cannot become UTF-8 whatever follows. Not to be called again then.
  bool feed(Bytes in);
  // Not in the middle of a character.
  bool complete() const { return left_ == 0; }

 private:
  unsigned left_ = 0;                       // continuation bytes to come
  std::uint8_t low_ = 0x80, high_ = 0xbf;   // of the next of them
};

}  // namespace adit::ws
