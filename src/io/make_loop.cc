#include <cerrno>

#include "io/epoll_loop.h"
#include "io/loop.h"
#include "io/uring_loop.h"

namespace adit::io {
namespace {

Result<LoopChoice> make_uring() {
  auto loop = UringLoop::open();
  if (!loop) return std::move(loop).error();
  std::string reason = "io_uring: ";
  reason += name((*loop)->mode());
  return LoopChoice{std::move(*loop), std::move(reason)};
}

Result<LoopChoice> make_epoll(std::string_view why) {
  auto loop = EpollLoop::open();
  if (!loop) return std::move(loop).error();
  return LoopChoice{std::move(*loop), std::string("epoll: ") + std::string(why)};
}

}  // namespace

Result<LoopChoice> make_loop() {
  auto uring = make_uring();
  if (uring) return uring;
  // Whatever the refusal: EPERM and ENOSYS come from container runtimes, EACCES from security
  // modules, ENOMEM from the memory-lock limit of old kernels; none of them says more than "not
  // here".
  return make_epoll(uring.error().what);
}

Result<LoopChoice> make_loop(Backend forced) {
  switch (forced) {
    case Backend::Uring: return make_uring();
    case Backend::Epoll: return make_epoll("asked for");
    case Backend::Sim: break;
  }
  return Error{EINVAL, "the simulated loop is for tests only"};
}

}  // namespace adit::io
