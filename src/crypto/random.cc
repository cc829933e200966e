#include "crypto/random.h"

#include <sys/random.h>

#include <array>
#include <cerrno>

#include "base/check.h"

namespace adit::crypto {
namespace {

void from_stream(MutableBytes out) {
  for (std::size_t at = 0; at < out.size();) {
    std::uint64_t word = next_deterministic();
    for (int i = 0; i < 8 && at < out.size(); ++i, word >>= 8) {
      out[at++] = static_cast<std::uint8_t>(word);
    }
  }
}

}  // namespace

void random_bytes(MutableBytes out) {
  if (is_deterministic()) return from_stream(out);
  while (!out.empty()) {
    const ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;  // only before the kernel's generator is ready
    CHECK(n > 0);
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

std::uint64_t random_u64() {
  std::array<std::uint8_t, 8> bytes;
  random_bytes(bytes);
  return Reader(bytes).u64();
}

}  // namespace adit::crypto
