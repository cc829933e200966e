// Fairness between bulk and interactive traffic on one thread. Directions that move bulk do it
// here, at the end of the turn, after every interactive connection has been served, one chunk each,
// and together no more than kPumpTurnBytesMax a turn: what a keystroke waits for is bounded by
// that.
#pragma once

#include <cstddef>

#include "base/list.h"
#include "io/loop.h"
#include "io/splice.h"

namespace adit::flow {

class BulkQueue;

class BulkWork : public ListNode<BulkWork> {
 public:
  // Moves one chunk and returns its size. May destroy itself.
  virtual std::size_t run_chunk() = 0;

 protected:
  ~BulkWork() = default;
};

class BulkQueue {
 public:
  explicit BulkQueue(io::Loop& loop)
      : loop_(loop), task_(Delegate<void()>::to<&BulkQueue::run>(this)),
        next_turn_(loop, Delegate<void()>::to<&BulkQueue::schedule>(this)) {}

  void push(BulkWork& work) {
    if (work.linked()) return;
    ready_.push_back(work);
    if (!running_) schedule();
  }
  io::PipePool& pipes() { return pipes_; }

 private:
  void schedule() { loop_.run_later(task_); }
  void run();

  io::Loop& loop_;
  io::PipePool pipes_;
  List<BulkWork, BulkWork> ready_;
  io::Task task_;
  io::Timer next_turn_;
  bool running_ = false;
};

}  // namespace adit::flow
