// A filter of system calls (seccomp(2)) from a list of rules: our own few instructions of classic
// BPF, so that no library decides what is in it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace adit::io {

enum class CallVerdict : std::uint8_t {
  Allow,
  Refuse,  // EPERM
  Absent,  // ENOSYS: the C library takes the older call instead
  Kill,    // the whole process, with SIGSYS
};

// Holds when (argument & mask) == value. The lower 32 bits of the argument: flags and small
// numbers, never pointers.
struct CallArgument {
  unsigned index = 0;  // 0 to 5
  std::uint32_t mask = 0xffffffff;
  std::uint32_t value = 0;
};

struct CallRule {
  long number = 0;                      // as in <sys/syscall.h>
  CallVerdict verdict = CallVerdict::Allow;
  std::vector<CallArgument> any_of{};   // empty: whatever the arguments
};

// For the calling thread and those it starts from then on. The first rule that fits decides, where
// none does `otherwise`. Calls of another architecture kill. Needs no_new_privs or CAP_SYS_ADMIN.
// ENOSYS, EINVAL: this kernel has no filters.
Status install_call_filter(std::span<const CallRule> rules, CallVerdict otherwise);

}  // namespace adit::io
