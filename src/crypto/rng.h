// The library's generator, for its calls that take one. Inside this room only.
#pragma once

#include <memory>

struct WC_RNG;

namespace adit::crypto {

struct RngFree {
  void operator()(WC_RNG* rng) const;
};
using Rng = std::unique_ptr<WC_RNG, RngFree>;

// Freshly seeded, so that it follows init_deterministic; never null.
Rng make_rng();

}  // namespace adit::crypto
