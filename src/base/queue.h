// A queue with a fixed bound. Full is an answer the caller has to handle: stop reading, drop or
// refuse.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace adit {

template <class T, std::size_t N>
class BoundedQueue {
  static_assert(N > 0 && (N & (N - 1)) == 0, "a power of two");

 public:
  [[nodiscard]] bool push(T v) {
    if (size() == N) return false;
    slot_[tail_++ & (N - 1)] = std::move(v);
    return true;
  }
  std::optional<T> pop() {
    if (size() == 0) return std::nullopt;
    return std::move(slot_[head_++ & (N - 1)]);
  }
  std::size_t size() const { return tail_ - head_; }
  bool empty() const { return size() == 0; }

 private:
  std::array<T, N> slot_{};
  std::size_t head_ = 0, tail_ = 0;
};

}  // namespace adit
