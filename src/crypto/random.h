// Random bytes for secrets, identifiers that must not be guessed, and nonces. For jitter use
// base/prng.h.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace adit::crypto {

// Fills `out` from the kernel's generator (getrandom), or from the simulator's stream after
// init_deterministic. Never fails: without randomness the process aborts. Thread-safe.
void random_bytes(MutableBytes out);

std::uint64_t random_u64();

// Whether init_deterministic was called, and if so the next number of its stream. For init.cc and
// random.cc.
bool is_deterministic();
std::uint64_t next_deterministic();

}  // namespace adit::crypto
