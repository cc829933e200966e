// Owner of a descriptor that is not a Socket: ring, pipe, event counter.
#pragma once

#include <utility>

#include "base/check.h"

namespace adit::io {

class [[nodiscard]] Fd {
 public:
  Fd() = default;
  explicit Fd(int raw) : raw_(raw) {}
  Fd(Fd&& o) noexcept : raw_(std::exchange(o.raw_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(raw_, o.raw_);
    return *this;
  }
  ~Fd() { reset(); }

  explicit operator bool() const { return raw_ >= 0; }
  int get() const {
    CHECK(raw_ >= 0);
    return raw_;
  }
  int release() { return std::exchange(raw_, -1); }
  // The one place in the program that calls close().
  void reset();

 private:
  int raw_ = -1;
};

}  // namespace adit::io
