#include "io/loop.h"

#include "io/timer_heap.h"

namespace adit::io {

std::string_view name(Backend backend) {
  switch (backend) {
    case Backend::Uring: return "io_uring";
    case Backend::Epoll: return "epoll";
    case Backend::Sim: return "sim";
  }
  return "unknown";
}

Op::~Op() {
  if (loop_ != nullptr) loop_->detach(*this);
}

int Socket::release() {
  CHECK(raw_ >= 0);
  loop_->on_release(raw_);
  return std::exchange(raw_, -1);
}

void Socket::reset() {
  if (raw_ >= 0) loop_->close_raw(std::exchange(raw_, -1));
}

void Timer::set(Instant at) {
  loop_.timers_->remove(*this);
  if (at == Instant::never()) return;
  at_ = at;
  loop_.timers_->insert(*this);
}

void Timer::stop() { loop_.timers_->remove(*this); }

Loop::Loop() : timers_(std::make_unique<TimerHeap>()) {}

Loop::~Loop() {
  // Owners die before the loop: an Op that outlives it would detach itself from freed memory.
  for (const Slot& s : slots_) CHECK(s.op == nullptr);
}

void Loop::run() {
  stopping_ = false;
  while (!stopping_) turn(Instant::never());
}

void Loop::run_later(Task& task) {
  if (!task.linked()) tasks_.push_back(task);
}

std::uint32_t Loop::begin(Op& op) {
  CHECK(!op.armed());
  std::uint32_t index;
  if (free_slots_.empty()) {
    index = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_slots_.back();
    free_slots_.pop_back();
  }
  Slot& s = slots_[index];
  CHECK(!s.busy);
  s.op = &op;
  s.busy = true;
  ++s.generation;
  op.loop_ = this;
  op.slot_ = index;
  return index;
}

void Loop::cancel(Op& op) {
  if (op.armed()) start_cancel(op.slot_);
}

void Loop::detach(Op& op) {
  slots_[op.slot_].op = nullptr;
  op.loop_ = nullptr;
  start_cancel(op.slot_);
}

bool Loop::complete(std::uint32_t index, const Completion& completion) {
  CHECK(slots_[index].busy);
  Op* op = slots_[index].op;
  if (!completion.more) {
    slots_[index].busy = false;
    slots_[index].op = nullptr;
    free_slots_.push_back(index);
    if (op != nullptr) op->loop_ = nullptr;
  }
  if (op == nullptr) return false;
  op->handler_(completion);  // may destroy op, start operations, grow slots_
  return true;
}

void Loop::run_timers_and_tasks() {
  while (Timer* due = timers_->pop_due(now_)) TimerHeap::fire(*due);
  while (!tasks_.empty()) {
    // Tasks that tasks ask for run in the next pass, so that one cannot starve the others.
    List<Task, Task> batch;
    batch.take_all(tasks_);
    while (Task* t = batch.pop_front()) t->handler_();
  }
}

Instant Loop::wake_at(Instant until) const {
  return tasks_.empty() ? std::min(until, timers_->next()) : now_;
}

}  // namespace adit::io
