// The process-wide start of the TLS library. Everything in this room calls init() by itself; a
// program calls it early so that a broken start is seen early.
#pragma once

#include <cstdint>

namespace adit::crypto {

// Once per process; further calls, from any thread, do nothing. Aborts where the library cannot
// start: no entropy source or no memory leaves nothing to continue with.
void init();

// For the simulator only: from now on every random number of this room, and of the TLS library,
// comes from a SplitMix64 stream, so that handshakes repeat byte for byte. May be called again
// (each call restarts the stream). Sessions and contexts made before keep their own generators. Not
// thread-safe: one thread, before any other uses the room. Requires a library built with
// WC_RNG_SEED_CB; aborts otherwise.
void init_deterministic(std::uint64_t seed);
bool deterministic_is_available();

// What certificate validity is compared with, in seconds since 1970; null is the system clock. For
// the simulator and for tests of expiry. Process-wide; set while no handshake runs.
void set_wall_clock(std::int64_t (*unix_seconds)());

}  // namespace adit::crypto
