// Polls of sockets whose peer has ended its direction. io_uring completes a poll for POLLRDHUP
// whether it was asked for or not, so on such a socket a wait for kWritable would end at once,
// again and again. epoll has no such opinion: these few polls go to an epoll instance, and io_uring
// polls that.
#include <sys/epoll.h>

#include <array>
#include <cerrno>

#include "io/uring_loop.h"

namespace adit::io {

void UringLoop::poll_aside(std::uint32_t index) {
  OpTable::Entry& entry = ops_[index];
  entry.kind = OpKind::PollAside;
  // Its cancellation may be under way, and finds nothing in the kernel any more.
  if (!entry.cancelling) entry.result = watch_aside(entry.fd);
  if (entry.cancelling || entry.result < 0) arm_again(index);
}

// Asks for one event of what the polls aside of `fd` still wait for. 0 or -errno.
int UringLoop::watch_aside(int fd) {
  if (!aside_) {
    aside_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!aside_) return -errno;
    watch(aside_.get(), kAside);
  }
  epoll_event event{};
  event.events = EPOLLONESHOT;
  event.data.fd = fd;
  for (std::uint32_t i = ops_.first(fd); i != OpTable::kNone; i = ops_[i].next) {
    if (ops_[i].kind == OpKind::PollAside && !ops_[i].queued) event.events |= ops_[i].mask;
  }
  if (event.events == EPOLLONESHOT) return 0;
  if (::epoll_ctl(aside_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  if (errno != ENOENT) return -errno;
  return ::epoll_ctl(aside_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

void UringLoop::collect_aside() {
  std::array<epoll_event, 64> events;
  int n = 0;
  do {  // ends: each descriptor has one event and is armed again only for what is not ready
    n = ::epoll_wait(aside_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int e = 0; e < n; ++e) {
      const epoll_event& event = events[static_cast<std::size_t>(e)];
      const bool failed = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
      const int bits = failed ? kReadable | kWritable : static_cast<int>(event.events);
      for (std::uint32_t i = ops_.first(event.data.fd); i != OpTable::kNone; i = ops_[i].next) {
        OpTable::Entry& entry = ops_[i];
        if (entry.kind != OpKind::PollAside || entry.queued) continue;
        entry.result = failed ? bits : bits & entry.mask;
        if (entry.result != 0) arm_again(i);
      }
      static_cast<void>(watch_aside(event.data.fd));
    }
  } while (n == static_cast<int>(events.size()));
}

}  // namespace adit::io
