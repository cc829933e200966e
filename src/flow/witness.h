// Tells a function that calls out whether its object was destroyed meanwhile. The object holds a
// pointer to the witness on the stack and tells it from its destructor.
#pragma once

#include "base/check.h"

namespace adit::flow {

// g++ 13 and later warn that the witness's address outlives it, since they do not follow the
// destructor, which takes the address back.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer"
#endif
class Witness {
 public:
  // `place`: the object's pointer to its witness; one at a time.
  explicit Witness(Witness*& place) : place_(&place) {
    CHECK(place == nullptr);
    place = this;
  }
  ~Witness() {
    if (place_ != nullptr) *place_ = nullptr;
  }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

  bool destroyed() const { return place_ == nullptr; }
  // From the object's destructor.
  static void tell(Witness* witness) {
    if (witness != nullptr) witness->place_ = nullptr;
  }

 private:
  Witness** place_;
};
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace adit::flow
