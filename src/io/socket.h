// The one owner of a descriptor. Everyone else borrows it for a call. Closing goes through the
// loop, which may be simulated; cancels what is in flight on it; and is the one place that calls
// close().
#pragma once

#include <cstdint>
#include <utility>

#include "base/check.h"

namespace adit::io {

class Loop;

class [[nodiscard]] Socket {
 public:
  Socket() = default;
  Socket(Loop& loop, int raw) : loop_(&loop), raw_(raw) {}
  Socket(Socket&& o) noexcept : loop_(o.loop_), raw_(std::exchange(o.raw_, -1)) {}
  Socket& operator=(Socket&& o) noexcept {
    std::swap(loop_, o.loop_);
    std::swap(raw_, o.raw_);
    return *this;
  }
  ~Socket() { reset(); }

  explicit operator bool() const { return raw_ >= 0; }
  int raw() const {
    CHECK(raw_ >= 0);
    return raw_;
  }
  // Gives the descriptor up without closing it (hand-over to another thread). No Op may be in
  // flight on it.
  int release();
  void reset();

 private:
  Loop* loop_ = nullptr;
  int raw_ = -1;
};

}  // namespace adit::io
