#include "io/splice.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/limits.h"

namespace adit::io {
namespace {

// What a pipe has from the start, unless the user's pipe budget is spent.
constexpr std::size_t kOrdinaryPipeBytes = std::size_t{64} << 10;
static_assert(kOrdinaryPipeBytes <= limits::kSplicePipeBytesMin);

// Bytes moved, or -errno.
ssize_t move(int from, int to, std::size_t max) {
  for (;;) {
    const ssize_t n = ::splice(from, nullptr, to, nullptr, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

// The largest size from kSplicePipeBytes down that the kernel grants.
std::size_t enlarge(int pipe) {
  for (std::size_t n = limits::kSplicePipeBytes; n > kOrdinaryPipeBytes; n /= 2) {
    const int got = ::fcntl(pipe, F_SETPIPE_SZ, static_cast<int>(n));
    if (got > 0) return static_cast<std::size_t>(got);
  }
  const int got = ::fcntl(pipe, F_GETPIPE_SZ);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

}  // namespace

// Keeps the count of what a pipe holds in one place.
class Splice {
 public:
  static Result<SplicePipe> open() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) return errno_error(errno, "pipe2");
    Fd out(ends[0]);
    Fd in(ends[1]);
    const std::size_t capacity = enlarge(in.get());
    if (capacity < kOrdinaryPipeBytes) return errno_error(EPERM, "F_SETPIPE_SZ");
    return SplicePipe(std::move(out), std::move(in), capacity);
  }

  static Result<Spliced> in(int from, SplicePipe& pipe, std::size_t max) {
    const ssize_t n = move(from, pipe.in_.get(), max);
    if (n == 0) return Spliced{.bytes = 0, .end = true};
    if (n == -EAGAIN) return Spliced{};
    if (n < 0) return errno_error(static_cast<int>(-n), "splice");
    pipe.held_ += static_cast<std::size_t>(n);
    return Spliced{.bytes = static_cast<std::size_t>(n), .end = false};
  }

  static Result<std::size_t> out(SplicePipe& pipe, int to) {
    const ssize_t n = move(pipe.out_.get(), to, pipe.held_);
    if (n == -EAGAIN) return std::size_t{0};
    if (n < 0) return errno_error(static_cast<int>(-n), "splice");
    CHECK(static_cast<std::size_t>(n) <= pipe.held_);
    pipe.held_ -= static_cast<std::size_t>(n);
    return static_cast<std::size_t>(n);
  }
};

Result<SplicePipe> SplicePipe::open() { return Splice::open(); }

Result<Spliced> splice_in(const Socket& from, SplicePipe& pipe, std::size_t max) {
  CHECK(max > 0);
  return Splice::in(from.raw(), pipe, max);
}

Result<std::size_t> splice_out(SplicePipe& pipe, const Socket& to) {
  CHECK(pipe.held() > 0);
  return Splice::out(pipe, to.raw());
}

Result<SplicePipe> PipePool::borrow() {
  // A pipe may hold its whole size for a receiver that has stopped reading.
  if (lent_ >= limits::kSplicePipesMax) return Error{EAGAIN, "as many pipes as are lent at a time"};
  if (idle_.empty()) {
    auto made = SplicePipe::open();
    if (made) ++lent_;
    return made;
  }
  ++lent_;
  SplicePipe pipe = std::move(idle_.back());
  idle_.pop_back();
  return pipe;
}

void PipePool::give_back(SplicePipe pipe) {
  CHECK(lent_ > 0);
  --lent_;
  if (pipe.held() == 0 && idle_.size() < limits::kSplicePipesIdleMax) {
    idle_.push_back(std::move(pipe));
  }
}

}  // namespace adit::io
