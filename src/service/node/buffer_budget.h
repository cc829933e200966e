// What the sessions of the node may hold in memory, together. Each may have a share of what is
// free, so that one fast server gets much while there is room, and thousands get little each.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/limits_node.h"
#include "base/list.h"

namespace adit::service {

// A session that does not read because of the budget.
class BudgetWaiter : public ListNode<BudgetWaiter> {
 public:
  virtual void on_room() = 0;

 protected:
  ~BudgetWaiter() = default;
};

class BufferBudget {
 public:
  explicit BufferBudget(std::size_t most = limits::kNodeBufferBytesMax) : most_(most) {}

  // How much a session may hold that its client has not fetched.
  std::size_t share() const {
    if (used_ > most_ + most_ / 4) return 0;
    const std::size_t free = most_ - std::min(most_, used_);
    return std::clamp(free / 2, limits::kNodeDownloadBytesMin, limits::kNodeDownloadBytesMax);
  }
  void add(std::size_t n) { used_ += n; }
  // Some of those who wait are told.
  void sub(std::size_t n) {
    used_ -= n;
    if (used_ > most_) return;
    for (std::size_t i = 0; i < kToldMax; ++i) {
      BudgetWaiter* w = waiting_.pop_front();
      if (w == nullptr) return;
      w->on_room();
    }
  }
  void wait(BudgetWaiter& waiter) {
    if (!waiter.ListNode<BudgetWaiter>::linked()) waiting_.push_back(waiter);
  }

  // Kept for clients that may ask for it again; gives way to the rest.
  void keep(std::size_t n) { kept_ += n; }
  void unkeep(std::size_t n) { kept_ -= n; }
  bool too_much_kept() const { return used_ + kept_ > most_; }
  std::size_t used() const { return used_; }
  std::size_t kept() const { return kept_; }
  std::size_t most() const { return most_; }

 private:
  static constexpr std::size_t kToldMax = 8;
  const std::size_t most_;
  std::size_t used_ = 0, kept_ = 0;
  List<BudgetWaiter, BudgetWaiter> waiting_;
};

}  // namespace adit::service
