// The system calls of relay and agent, on either back end.
#pragma once

#include <vector>

#include "io/seccomp_filter.h"

namespace adit::app {

// What is not in it gets EPERM.
std::vector<io::CallRule> allowed_calls();
// For processes that run hook programs, which inherit the filter: all calls but these.
std::vector<io::CallRule> calls_refused_to_programs();

}  // namespace adit::app
