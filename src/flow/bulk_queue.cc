#include "flow/bulk_queue.h"

#include "base/limits.h"

namespace adit::flow {

void BulkQueue::run() {
  // Work that comes back from its own chunk is in the list, and asks for no task besides.
  running_ = true;
  std::size_t moved = 0;
  while (moved < limits::kPumpTurnBytesMax) {
    BulkWork* work = ready_.pop_front();
    if (work == nullptr) break;
    moved += work->run_chunk();
  }
  running_ = false;
  // A timer that is due at once, not a task: tasks run until there are none, and the point is to
  // let the loop collect what interactive connections brought meanwhile.
  if (!ready_.empty()) next_turn_.set(loop_.now());
}

}  // namespace adit::flow
