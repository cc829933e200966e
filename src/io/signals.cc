#include "io/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace adit::io {

struct Signals::Mask {
  sigset_t set;
};

Result<std::unique_ptr<Signals>> Signals::open(Loop& loop, std::span<const int> signals,
                                               Handler handler) {
  sigset_t wanted;
  sigset_t before;
  ::sigemptyset(&wanted);
  for (const int s : signals) ::sigaddset(&wanted, s);
  Fd fd(::signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd) return errno_error(errno, "signalfd");
  if (const int e = ::pthread_sigmask(SIG_BLOCK, &wanted, &before); e != 0) {
    return errno_error(e, "pthread_sigmask");
  }
  auto blocked = std::make_unique<Mask>();
  ::sigemptyset(&blocked->set);
  for (const int s : signals) {
    if (::sigismember(&before, s) == 0) ::sigaddset(&blocked->set, s);
  }
  return std::unique_ptr<Signals>(new Signals(loop, handler, std::move(fd), std::move(blocked)));
}

Signals::Signals(Loop& loop, Handler handler, Fd fd, std::unique_ptr<Mask> blocked)
    : loop_(loop), handler_(handler), blocked_(std::move(blocked)), fd_(std::move(fd)) {
  wait();
}

Signals::~Signals() { ::pthread_sigmask(SIG_UNBLOCK, &blocked_->set, nullptr); }

void Signals::wait() { loop_.poll(readable_, fd_.get(), kReadable); }

void Signals::on_readable(const Completion&) {
  // One at a time: what is left makes the next poll complete at once, and the handler may be our
  // end.
  signalfd_siginfo info{};
  const ssize_t n = ::read(fd_.get(), &info, sizeof info);
  wait();
  if (n == static_cast<ssize_t>(sizeof info)) handler_(static_cast<int>(info.ssi_signo));
}

}  // namespace adit::io
