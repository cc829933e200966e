// Errors are values. Three families, never mixed: a peer's fault (close that peer), the environment
// (retry or report), our own bug (CHECK). Result is ours because g++ 12's std::expected lacks the
// monadic half, and because context is collected on the way up: Result::with.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace adit {

// `code` is an errno value, or 0 where only the text says more. `what` is for people.
struct Error {
  int code = 0;
  std::string what;

  // "context: what"; the innermost cause stays last, as in a path.
  Error with(std::string_view context) && {
    what.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }
};

// The error of a system call: "bind: Address already in use". `code` is a positive errno.
Error errno_error(int code, std::string_view call);

template <class T = std::monostate>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit
  Result()
    requires std::is_same_v<T, std::monostate>
      : state_(std::in_place_index<0>) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  Error& error() & {
    CHECK(!*this);
    return *std::get_if<1>(&state_);
  }
  const Error& error() const& {
    CHECK(!*this);
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    CHECK(!*this);
    return std::move(*std::get_if<1>(&state_));
  }

  // Adds context to an error; a value passes untouched.
  Result with(std::string_view context) && {
    if (*this) return std::move(*this);
    return std::move(*this).error().with(context);
  }

 private:
  T& value() {
    CHECK(*this);
    return *std::get_if<0>(&state_);
  }
  const T& value() const {
    CHECK(*this);
    return *std::get_if<0>(&state_);
  }

  std::variant<T, Error> state_;
};

using Status = Result<>;

}  // namespace adit
