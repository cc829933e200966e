// A bound member function in two words: what a completion, a timer or an event calls. It owns
// nothing: whoever hands one out must outlive the thing that calls it, or take it back first.
#pragma once

#include <utility>

#include "base/check.h"

namespace adit {

template <class Signature>
class Delegate;

template <class R, class... Args>
class Delegate<R(Args...)> {
 public:
  Delegate() = default;

  template <auto Method, class Owner>
  static Delegate to(Owner* owner) {
    return Delegate(owner, [](void* o, Args... args) -> R {
      return (static_cast<Owner*>(o)->*Method)(std::forward<Args>(args)...);
    });
  }

  explicit operator bool() const { return call_ != nullptr; }
  R operator()(Args... args) const {
    CHECK(call_ != nullptr);
    return call_(owner_, std::forward<Args>(args)...);
  }

 private:
  Delegate(void* owner, R (*call)(void*, Args...)) : owner_(owner), call_(call) {}

  void* owner_ = nullptr;
  R (*call_)(void*, Args...) = nullptr;
};

}  // namespace adit
