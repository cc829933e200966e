// How much of a loop's turn one link may have, beside limits.h: bytes, since they are what takes
// time (to encrypt and send 1 MiB takes a millisecond, in which all others on the thread wait).
#pragma once

#include "base/limits.h"

namespace adit::limits {

// Sent by one link before the others have their turn: two batches of datagrams (UDP_SEGMENT).
inline constexpr std::size_t kLinkTurnBytesMax = 128_KiB;
// Taken from the kernel's completions in one turn, all links and visitors together. What they bring
// about (an answer, or a byte passed on) is sent at the end of the turn: the first of them waits
// for the last one.
inline constexpr std::size_t kTurnReceiveBytesMax = 256_KiB;

static_assert(kTurnReceiveBytesMax >= kDatagramBufferBytes);

}  // namespace adit::limits
