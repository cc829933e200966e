#include "flow/bulk_queue.h"

#include "base/limits.h"

namespace adit::flow {

void BulkQueue::run() {
  // A timer that is due at once, not a task: tasks run until there are none, and the point is to
  // let the loop collect what interactive connections brought meanwhile. Armed before the first
  // chunk, so that work which comes back from its own does not ask for a task either.
  next_turn_.set(loop_.now());
  std::size_t moved = 0;
  while (moved < limits::kPumpTurnBytesMax) {
    BulkWork* work = ready_.pop_front();
    if (work == nullptr) return next_turn_.stop();
    moved += work->run_chunk();
  }
}

}  // namespace adit::flow
