#include "crypto/init.h"

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/random.h>

#include <atomic>
#include <ctime>
#include <mutex>

#include "base/bytes.h"
#include "base/check.h"
#include "base/prng.h"
#include "crypto/random.h"

namespace adit::crypto {
namespace {

using WallClock = std::int64_t (*)();

std::once_flag started;
std::atomic<bool> deterministic = false;
std::atomic<std::uint64_t> stream = 0;
std::atomic<WallClock> wall_clock = nullptr;

time_t wall_clock_for_library(time_t* out) {
  const WallClock clock = wall_clock.load();
  const time_t now = clock ? static_cast<time_t>(clock()) : std::time(nullptr);
  if (out != nullptr) *out = now;
  return now;
}

#ifdef WC_RNG_SEED_CB
int seed_from_stream(OS_Seed*, byte* out, word32 size) {
  random_bytes({out, size});
  return 0;
}
#endif

}  // namespace

void init() {
  std::call_once(started, [] {
#ifdef WC_RNG_SEED_CB
    // Already here: wolfSSL_Init seeds a generator of its own.
    CHECK(wc_SetSeed_Cb(wc_GenerateSeed) == 0);
#endif
    CHECK(wolfSSL_Init() == WOLFSSL_SUCCESS);
  });
}

bool deterministic_is_available() {
#ifdef WC_RNG_SEED_CB
  return true;
#else
  return false;
#endif
}

void init_deterministic(std::uint64_t seed) {
  init();
  CHECK(deterministic_is_available());
  stream.store(seed);
  deterministic.store(true);
#ifdef WC_RNG_SEED_CB
  CHECK(wc_SetSeed_Cb(seed_from_stream) == 0);
  // The library's global generator (which QUIC uses) was seeded by wolfSSL_Init: begin again.
  wolfSSL_RAND_Cleanup();
  CHECK(wolfSSL_RAND_seed(nullptr, 0) == WOLFSSL_SUCCESS);
#endif
}

void set_wall_clock(std::int64_t (*unix_seconds)()) {
  init();
  wall_clock.store(unix_seconds);
  CHECK(wc_SetTimeCb(wall_clock_for_library) == 0);
}

bool is_deterministic() { return deterministic.load(std::memory_order_relaxed); }

std::uint64_t next_deterministic() {
  // One step of the generator whose state is the shared counter: SplitMix64 adds this constant.
  return Prng(stream.fetch_add(0x9e3779b97f4a7c15u)).next();
}

}  // namespace adit::crypto
