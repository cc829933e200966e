// Two connected stream sockets within this process (socketpair(2)): one end can go to another
// thread.
#pragma once

#include <utility>

#include "base/result.h"
#include "io/loop.h"

namespace adit::io {

// Both are adopted by `loop`. Errors: EMFILE, ENFILE.
Result<std::pair<Socket, Socket>> stream_pair(Loop& loop);

}  // namespace adit::io
