// Binary heap of embedded timers, each knowing its place: O(log n) to set and to stop.
#pragma once

#include <vector>

#include "io/loop.h"

namespace adit::io {

class TimerHeap {
 public:
  void insert(Timer& t);
  void remove(Timer& t);  // not in the heap: nothing happens
  Instant next() const { return heap_.empty() ? Instant::never() : heap_[0]->at_; }
  // Takes out the first timer due at `now`, or null.
  Timer* pop_due(Instant now);
  static void fire(Timer& t) { t.handler_(); }

 private:
  void place(std::uint32_t i, Timer* t) {
    heap_[i] = t;
    t->index_ = i;
  }
  void up(std::uint32_t i);
  void down(std::uint32_t i);

  std::vector<Timer*> heap_;
};

}  // namespace adit::io
