#include "io/timer_heap.h"

namespace adit::io {

void TimerHeap::insert(Timer& t) {
  CHECK(!t.armed());
  heap_.push_back(&t);
  t.index_ = static_cast<std::uint32_t>(heap_.size() - 1);
  up(t.index_);
}

void TimerHeap::remove(Timer& t) {
  if (!t.armed()) return;
  const std::uint32_t i = t.index_;
  CHECK(i < heap_.size() && heap_[i] == &t);
  t.index_ = Timer::kIdle;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &t) return;
  place(i, last);
  up(i);
  down(last->index_);
}

Timer* TimerHeap::pop_due(Instant now) {
  if (heap_.empty() || heap_[0]->at_ > now) return nullptr;
  Timer* first = heap_[0];
  remove(*first);
  return first;
}

void TimerHeap::up(std::uint32_t i) {
  Timer* t = heap_[i];
  while (i > 0) {
    const std::uint32_t parent = (i - 1) / 2;
    if (heap_[parent]->at_ <= t->at_) break;
    place(i, heap_[parent]);
    i = parent;
  }
  place(i, t);
}

void TimerHeap::down(std::uint32_t i) {
  Timer* t = heap_[i];
  const auto n = static_cast<std::uint32_t>(heap_.size());
  for (;;) {
    std::uint32_t child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n && heap_[child + 1]->at_ < heap_[child]->at_) ++child;
    if (t->at_ <= heap_[child]->at_) break;
    place(i, heap_[child]);
    i = child;
  }
  place(i, t);
}

}  // namespace adit::io
