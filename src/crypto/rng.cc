#include "crypto/rng.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/random.h>

#include "base/check.h"
#include "crypto/init.h"

namespace adit::crypto {

void RngFree::operator()(WC_RNG* rng) const { wc_rng_free(rng); }

Rng make_rng() {
  init();
  Rng rng(wc_rng_new(nullptr, 0, nullptr));
  CHECK(rng != nullptr);
  return rng;
}

}  // namespace adit::crypto
