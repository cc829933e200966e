// CHECK aborts in every build: for what must hold if our own code is right. Bytes from a peer, and
// anything the environment may do, never reach a CHECK; they become an Error.
#pragma once

namespace adit {

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace adit

#define CHECK(x) \
  (static_cast<bool>(x) ? static_cast<void>(0) : ::adit::check_failed(#x, __FILE__, __LINE__))
