#include "io/epoll_loop.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/limits.h"
#include "io/sockaddr.h"

namespace adit::io {
namespace {

// What one operation may do in a turn before the others have theirs.
constexpr std::size_t kReadBytes = std::size_t{64} << 10;
constexpr int kAccepts = 64;
constexpr unsigned kMessages = 8;

constexpr std::uint64_t kWake = UINT64_MAX;
constexpr std::uint32_t kEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
static_assert(kReadable == int{EPOLLIN} && kWritable == int{EPOLLOUT});

}  // namespace

struct EpollLoop::Datagrams {
  struct Message {
    std::array<std::uint8_t, limits::kDatagramBufferBytes> bytes;
    alignas(cmsghdr) std::array<std::uint8_t, kControlBytes> control;
    SockAddr peer;
  };
  std::array<Message, kMessages> messages;
  std::array<iovec, kMessages> pieces;
  std::array<mmsghdr, kMessages> headers;

  void reset() {
    for (unsigned i = 0; i < kMessages; ++i) {
      Message& m = messages[i];
      pieces[i] = {m.bytes.data(), m.bytes.size()};
      headers[i] = {};
      msghdr& h = headers[i].msg_hdr;
      h.msg_name = &m.peer.any;
      h.msg_namelen = sizeof m.peer.v6;
      h.msg_iov = &pieces[i];
      h.msg_iovlen = 1;
      h.msg_control = m.control.data();
      h.msg_controllen = m.control.size();
    }
  }
};

Result<std::unique_ptr<EpollLoop>> EpollLoop::open() {
  auto mailbox = Mailbox::open();
  if (!mailbox) return std::move(mailbox).error();
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_error(errno, "epoll_create1");
  epoll_event wake{};
  wake.events = EPOLLIN | EPOLLET;
  wake.data.u64 = kWake;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, (*mailbox)->wake_fd(), &wake) != 0) {
    return errno_error(errno, "epoll_ctl");
  }
  return std::unique_ptr<EpollLoop>(new EpollLoop(std::move(*mailbox), std::move(epoll)));
}

EpollLoop::EpollLoop(std::unique_ptr<Mailbox> mailbox, Fd epoll)
    : PosixLoop(std::move(mailbox)),
      epoll_(std::move(epoll)),
      events_(limits::kCompletionsPerTurnMax),
      buffer_(std::make_unique_for_overwrite<std::uint8_t[]>(kReadBytes)) {}

EpollLoop::~EpollLoop() = default;

// --- registration ---

EpollLoop::File& EpollLoop::file(int fd) {
  const auto i = static_cast<std::size_t>(fd);
  if (i >= files_.size()) files_.resize(i + 1);
  return files_[i];
}

int EpollLoop::watch(int fd, std::uint32_t events, bool known) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = static_cast<std::uint32_t>(fd) | std::uint64_t{file(fd).generation} << 32;
  const int first = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(epoll_.get(), first, fd, &event) == 0) return 0;
  // What we know of a descriptor that others own may be out of date.
  if (errno != (known ? ENOENT : EEXIST)) return -errno;
  const int second = known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  return ::epoll_ctl(epoll_.get(), second, fd, &event) == 0 ? 0 : -errno;
}

int EpollLoop::register_once(int fd) {
  File& f = file(fd);
  f.ours = true;
  if (f.registered) return 0;
  const int e = watch(fd, kEdges, false);
  f.registered = e == 0;
  return e;
}

// Others may close such a descriptor, and its number may come back, without our knowing: so it is
// armed each time, for one event, by what is asked for now.
int EpollLoop::watch_foreign(int fd) {
  std::uint32_t wanted = 0;
  for (std::uint32_t i = ops_.first(fd); i != OpTable::kNone; i = ops_[i].next) {
    if (!ops_[i].queued) wanted |= ops_[i].mask;
  }
  if (wanted == 0) return 0;
  File& f = file(fd);
  const int e = watch(fd, wanted | EPOLLONESHOT, f.registered);
  f.registered = e == 0;
  return e;
}

void EpollLoop::on_adopt(int fd) {
  File& f = file(fd);
  f = File{.generation = f.generation + 1, .ours = true};
}

void EpollLoop::on_release(int fd) {
  File& f = file(fd);
  if (f.registered) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  f = File{.generation = f.generation + 1};
}

void EpollLoop::close_raw(int fd) {
  for (std::uint32_t i = ops_.first(fd); i != OpTable::kNone; i = ops_.first(fd)) {
    start_cancel(i);
    ops_.unlink_fd(i);
  }
  File& f = file(fd);
  f = File{.generation = f.generation + 1};
  Fd(fd).reset();  // leaves the epoll set with its last descriptor
}

// --- operations ---

void EpollLoop::start_reading(std::uint32_t index, int fd, OpKind kind) {
  OpTable::Entry& entry = ops_.link(index, fd, kind);
  entry.result = std::min(entry.result, register_once(fd));
  if (entry.result < 0 || file(fd).readable) queue(index);
}

void EpollLoop::start_accept(std::uint32_t index, int fd) {
  start_reading(index, fd, OpKind::Accept);
}

void EpollLoop::start_receive(std::uint32_t index, int fd) {
  start_reading(index, fd, OpKind::Receive);
}

void EpollLoop::start_receive_once(std::uint32_t index, int fd) {
  start_reading(index, fd, OpKind::ReceiveOnce);
}

void EpollLoop::start_receive_datagrams(std::uint32_t index, int fd) {
  if (!datagrams_) datagrams_ = std::make_unique_for_overwrite<Datagrams>();
  start_reading(index, fd, OpKind::ReceiveDatagrams);
  SockAddr name;
  if (ops_[index].result == 0 && ::getsockname(fd, &name.any, &name.size) == 0) {
    ops_[index].result = name.address().port;
  }
}

void EpollLoop::start_connect(std::uint32_t index, int fd, const Address& to) {
  OpTable::Entry& entry = ops_.link(index, fd, OpKind::Connect);
  const SockAddr name(to);
  const int e = ::connect(fd, &name.any, name.size) == 0 ? 0 : -errno;
  if (e == -EINPROGRESS) {
    // After connect(): before it a socket looks hung up.
    File& f = file(fd);
    f.ours = true;
    entry.result = watch(fd, kEdges, f.registered);
    f.registered = entry.result == 0;
    if (entry.result < 0) queue(index);
    return;
  }
  entry.result = e;
  queue(index);
}

void EpollLoop::start_poll(std::uint32_t index, int fd, int ready) {
  OpTable::Entry& entry = ops_.link(index, fd, OpKind::Poll);
  entry.mask = static_cast<std::uint8_t>(ready);
  File& f = file(fd);
  if (f.ours) {
    // Setting the same events again makes epoll look anew: what is ready now counts, not the last
    // edge.
    entry.result = watch(fd, kEdges, f.registered);
    f.registered = entry.result == 0;
  } else {
    entry.result = watch_foreign(fd);
  }
  if (entry.result < 0) queue(index);
}

void EpollLoop::start_cancel(std::uint32_t index) {
  ops_[index].cancelling = true;
  queue(index);
}

void EpollLoop::queue(std::uint32_t index) {
  if (std::exchange(ops_[index].queued, true)) return;
  queue_.push_back(index);
}

// --- a turn ---

int EpollLoop::wait_for_events(Instant until) {
  const int room = static_cast<int>(events_.size());
  if (until <= now() || queue_head_ < queue_.size()) {
    return ::epoll_wait(epoll_.get(), events_.data(), room, 0);
  }
  if (until == Instant::never()) return ::epoll_wait(epoll_.get(), events_.data(), room, -1);
  const Duration left = std::max(until - clock(), Duration{0});
  if (precise_wait_) {
    const timespec ts{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    const int n = ::epoll_pwait2(epoll_.get(), events_.data(), room, &ts, nullptr);
    // Older kernels, and seccomp filters that are older than the call (EPERM).
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
    precise_wait_ = false;
  }
  constexpr std::int64_t kMillisecondsMax = 60'000;  // waking up early does no harm
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return ::epoll_wait(epoll_.get(), events_.data(), room,
                      static_cast<int>(std::min<std::int64_t>(ms, kMillisecondsMax)));
}

void EpollLoop::wait(Instant until) {
  const int n = wait_for_events(until);
  CHECK(n >= 0 || errno == EINTR);
  event_count_ = static_cast<std::size_t>(std::max(n, 0));
}

void EpollLoop::run_collected() {
  for (std::size_t i = 0; i < event_count_; ++i) on_event(events_[i]);
  event_count_ = 0;
  const std::size_t end = std::min(queue_.size(), queue_head_ + limits::kCompletionsPerTurnMax);
  while (queue_head_ < end) {
    const std::uint32_t index = queue_[queue_head_++];
    ops_[index].queued = false;
    step(index);  // may queue more, for the next turn
  }
  if (queue_head_ * 2 >= queue_.size()) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_head_));
    queue_head_ = 0;
  }
}

void EpollLoop::on_event(const epoll_event& event) {
  if (event.data.u64 == kWake) return;
  const int fd = static_cast<int>(static_cast<std::uint32_t>(event.data.u64));
  File& f = file(fd);
  if (f.generation != event.data.u64 >> 32) return;
  const std::uint32_t bits = event.events;
  const bool failed = (bits & (EPOLLERR | EPOLLHUP)) != 0;
  if (failed || (bits & (EPOLLIN | EPOLLRDHUP)) != 0) f.readable = true;
  if (failed || (bits & EPOLLRDHUP) != 0) f.ended = true;
  for (std::uint32_t i = ops_.first(fd); i != OpTable::kNone; i = ops_[i].next) {
    OpTable::Entry& entry = ops_[i];
    if (entry.queued) continue;
    if (entry.kind == OpKind::Poll) {
      const int ready = failed ? kReadable | kWritable : static_cast<int>(bits & entry.mask);
      if (ready == 0) continue;
      entry.result = ready;
      queue(i);
    } else if (entry.kind == OpKind::Connect ? failed || (bits & EPOLLOUT) != 0 : f.readable) {
      queue(i);
    }
  }
  if (!f.ours) watch_foreign(fd);  // its one event is spent; somebody may wait for another
}

void EpollLoop::step(std::uint32_t index) {
  const OpTable::Entry& entry = ops_[index];
  if (entry.cancelling) return finish(index, -ECANCELED);
  if (entry.result < 0) return finish(index, entry.result);
  switch (entry.kind) {
    case OpKind::Accept: return step_accept(index);
    case OpKind::Receive:
    case OpKind::ReceiveOnce: return step_receive(index);
    case OpKind::ReceiveDatagrams: return step_receive_datagrams(index);
    case OpKind::Poll: return finish(index, entry.result);
    case OpKind::Connect: {
      int error = 0;
      socklen_t size = sizeof error;
      if (::getsockopt(entry.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
      return finish(index, -error);
    }
    case OpKind::PollAside:
    case OpKind::None: break;
  }
  CHECK(false && "a queued slot has an operation");
}

void EpollLoop::step_accept(std::uint32_t index) {
  const int listener = ops_[index].fd;
  for (int i = 0; i < kAccepts; ++i) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (!complete(index, {.result = fd, .more = true})) Fd(fd).reset();
      // By the handler, which may have closed the listener as well.
      if (ops_[index].cancelling) return;
      continue;
    }
    if (errno == EAGAIN) {
      file(listener).readable = false;
      return;
    }
    if (!transient_accept_error(errno)) return finish(index, -errno);
  }
  queue(index);
}

void EpollLoop::step_receive(std::uint32_t index) {
  const int fd = ops_[index].fd;
  const ssize_t n = ::recv(fd, buffer_.get(), kReadBytes, MSG_DONTWAIT);
  File& f = file(fd);
  if (n > 0) {
    const auto size = static_cast<std::size_t>(n);
    const Bytes data{buffer_.get(), size};
    const bool once = ops_[index].kind == OpKind::ReceiveOnce;
    // A short read has emptied the socket: what comes later makes a new edge.
    if (size < kReadBytes && !f.ended) {
      f.readable = false;
    } else if (!once) {
      queue(index);
    }
    if (once) ops_.erase(index);
    complete(index, {.result = static_cast<int>(n), .more = !once, .data = data});
    return;
  }
  if (n == 0) return finish(index, 0);
  if (errno == EINTR) return queue(index);
  if (errno != EAGAIN) return finish(index, -errno);
  f.readable = f.ended = false;
}

void EpollLoop::step_receive_datagrams(std::uint32_t index) {
  const int fd = ops_[index].fd;
  datagrams_->reset();
  const int n = ::recvmmsg(fd, datagrams_->headers.data(), kMessages, MSG_DONTWAIT, nullptr);
  File& f = file(fd);
  if (n < 0) {
    if (errno == EINTR) return queue(index);
    if (errno != EAGAIN) return finish(index, -errno);
    f.readable = f.ended = false;
    return;
  }
  // Fewer than asked for: empty, or an error stopped it, which then had an event of its own.
  if (n == kMessages || f.ended) {
    queue(index);
  } else {
    f.readable = false;
  }
  const auto port = static_cast<std::uint16_t>(ops_[index].result);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    Completion c;
    c.result = static_cast<int>(datagrams_->headers[i].msg_len);
    c.more = true;
    c.data = {datagrams_->messages[i].bytes.data(), datagrams_->headers[i].msg_len};
    c.peer = datagrams_->messages[i].peer.address();
    c.local.port = port;
    read_control(datagrams_->headers[i].msg_hdr, c);
    if (!complete(index, c)) return;
  }
}

void EpollLoop::finish(std::uint32_t index, int result) {
  ops_.erase(index);
  complete(index, {.result = result});
}

}  // namespace adit::io
