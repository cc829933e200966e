#include "io/uring_loop.h"

#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/limits_turn.h"
#include "io/sockaddr.h"
#include "io/uring_probe.h"

namespace adit::io {
namespace {

constexpr unsigned kSubmissions = 1024;
constexpr unsigned kCompletions = 4096;
constexpr int kReceiveGroup = 0;
constexpr int kDatagramGroup = 1;
// Room for the sender in a datagram buffer: a sockaddr_in6, rounded so that what follows is
// aligned.
constexpr unsigned kNameBytes = 32;
static_assert(kNameBytes >= sizeof(sockaddr_in6));
static_assert((sizeof(io_uring_recvmsg_out) + kNameBytes) % alignof(cmsghdr) == 0);
static_assert(sizeof(io_uring_recvmsg_out) + kNameBytes + kControlBytes + 65535 <=
              limits::kDatagramBufferBytes);
static_assert((limits::kReceiveBuffers & (limits::kReceiveBuffers - 1)) == 0);
static_assert((limits::kDatagramBuffers & (limits::kDatagramBuffers - 1)) == 0);

__kernel_timespec to_timespec(Duration d) {
  const std::int64_t ns = std::max<std::int64_t>(d.count(), 0);
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}

}  // namespace

std::string_view name(UringLoop::Mode mode) {
  switch (mode) {
    case UringLoop::Mode::Defer: return "SINGLE_ISSUER DEFER_TASKRUN";
    case UringLoop::Mode::Coop: return "COOP_TASKRUN";
    case UringLoop::Mode::Plain: return "plain";
  }
  return "unknown";
}

// Buffers that the kernel picks from. Untouched ones cost no memory.
class UringLoop::BufferRing {
 public:
  BufferRing() = default;
  BufferRing(const BufferRing&) = delete;
  BufferRing& operator=(const BufferRing&) = delete;
  ~BufferRing() {
    if (memory_ != nullptr) ::munmap(memory_, count_ * bytes_);
  }

  // 0 or -errno.
  int open(io_uring* ring, int group, std::size_t count, std::size_t bytes) {
    void* memory = ::mmap(nullptr, count * bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -errno;
    memory_ = static_cast<std::uint8_t*>(memory);
    count_ = count;
    bytes_ = bytes;
    int error = 0;
    // The ring's own pages are freed by the kernel with the io_uring.
    ring_ = io_uring_setup_buf_ring(ring, static_cast<unsigned>(count), group, 0, &error);
    if (ring_ == nullptr) return error;
    for (std::size_t i = 0; i < count; ++i) give_back(static_cast<std::uint16_t>(i));
    return 0;
  }
  // After io_uring_queue_exit or before it; the mapping is the C library's.
  void close(io_uring* ring, int group) {
    if (ring_ != nullptr) io_uring_free_buf_ring(ring, ring_, static_cast<unsigned>(count_), group);
    ring_ = nullptr;
  }
  bool is_open() const { return ring_ != nullptr; }
  std::uint8_t* at(std::uint16_t id) {
    CHECK(id < count_);
    return memory_ + id * bytes_;
  }
  void give_back(std::uint16_t id) {
    io_uring_buf_ring_add(ring_, at(id), static_cast<unsigned>(bytes_), id,
                          io_uring_buf_ring_mask(static_cast<unsigned>(count_)), 0);
    io_uring_buf_ring_advance(ring_, 1);
  }

 private:
  io_uring_buf_ring* ring_ = nullptr;
  std::uint8_t* memory_ = nullptr;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

struct UringLoop::Ring {
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (!open) return;
    streams.close(&uring, kReceiveGroup);
    datagrams.close(&uring, kDatagramGroup);
    io_uring_queue_exit(&uring);
  }

  io_uring uring{};
  bool open = false;
  BufferRing streams;
  BufferRing datagrams;  // opened by the first receive_datagrams
  // The sizes that recvmsg asks for; the kernel may read them as long as it is armed.
  msghdr header{};
  // Where connect goes to, by place in the submission queue: the kernel reads it when submitted.
  std::array<SockAddr, kSubmissions> connect_to;
};

namespace {

// 0 or -errno.
int open_ring(io_uring& ring, UringLoop::Mode mode) {
  io_uring_params params{};
  params.cq_entries = kCompletions;
  // Disabled at first: the ring belongs to the thread that enables it, and loops may be made
  // elsewhere.
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_R_DISABLED;
  switch (mode) {
    case UringLoop::Mode::Defer:
      params.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
      break;
    case UringLoop::Mode::Coop: params.flags |= IORING_SETUP_COOP_TASKRUN; break;
    case UringLoop::Mode::Plain: break;
  }
  return io_uring_queue_init_params(kSubmissions, &ring, &params);
}

}  // namespace

Result<std::unique_ptr<UringLoop>> UringLoop::open() {
  // An unknown flag is EINVAL, so that older kernels end at a later mode.
  for (const Mode mode : {Mode::Defer, Mode::Coop}) {
    auto loop = open(mode);
    if (loop || loop.error().code != EINVAL) return loop;
  }
  return open(Mode::Plain);
}

Result<std::unique_ptr<UringLoop>> UringLoop::open(Mode mode) {
  auto mailbox = Mailbox::open();
  if (!mailbox) return std::move(mailbox).error();
  auto ring = std::make_unique<Ring>();
  if (const int e = open_ring(ring->uring, mode); e < 0) return errno_error(-e, "io_uring_setup");
  ring->open = true;
  if (ring->uring.sq.ring_entries > kSubmissions) return Error{EINVAL, "io_uring: queue size"};
  if (Status s = probe_uring(); !s) return std::move(s).error();
  if (const int e = ring->streams.open(&ring->uring, kReceiveGroup, limits::kReceiveBuffers,
                                       limits::kReceiveBufferBytes);
      e < 0) {
    return errno_error(-e, "io_uring buffer ring");
  }
  return std::unique_ptr<UringLoop>(new UringLoop(std::move(*mailbox), std::move(ring), mode));
}

UringLoop::UringLoop(std::unique_ptr<Mailbox> mailbox, std::unique_ptr<Ring> ring, Mode mode)
    : PosixLoop(std::move(mailbox)), mode_(mode), ring_(std::move(ring)) {
  events_.reserve(limits::kCompletionsPerTurnMax);
  ring_->header.msg_namelen = kNameBytes;
  ring_->header.msg_controllen = kControlBytes;
  watch(wake_fd(), kWake);
}

UringLoop::~UringLoop() { end_operations(); }

// Leaves nothing in flight, so that ports and peers are released now and not whenever the kernel's
// worker takes the ring apart.
void UringLoop::end_operations() {
  constexpr int kTries = 100;  // of 10 ms: a cancelled operation ends at once
  io_uring* ring = &ring_->uring;
  enable();
  for (const std::uint32_t index : unsettled_) ops_.erase(index);
  unsettled_.clear();
  io_uring_sqe* sqe = io_uring_get_sqe(ring);
  if (sqe == nullptr && io_uring_submit(ring) > 0) sqe = io_uring_get_sqe(ring);
  if (sqe != nullptr) {
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(sqe, kIgnored);
  }
  bool usable = true;
  for (int i = 0; i < kTries && usable && (i == 0 || ops_.linked() > 0); ++i) {
    io_uring_cqe* first = nullptr;
    __kernel_timespec ts = to_timespec(10ms);
    const int e = io_uring_submit_and_wait_timeout(ring, &first, 1, &ts, nullptr);
    usable = e >= 0 || e == -ETIME || e == -EINTR || e == -EAGAIN || e == -EBUSY;
    collect();
    for (const Event& event : events_) {
      const auto index = static_cast<std::uint32_t>(event.user_data);
      if (index >= slot_count() || ops_[index].kind == OpKind::None) continue;
      if (ops_[index].kind == OpKind::Accept && event.result >= 0) Fd(event.result).reset();
      if ((event.flags & IORING_CQE_F_MORE) == 0) ops_.erase(index);
    }
  }
  if (usable) return;
  // The ring belongs to a thread that is gone: do what it was still asked to close.
  for (unsigned i = *ring->sq.khead; i != ring->sq.sqe_tail; ++i) {
    const io_uring_sqe& left = ring->sq.sqes[i & ring->sq.ring_mask];
    if (left.opcode == IORING_OP_CLOSE) Fd(left.fd).reset();
  }
}

void UringLoop::enable() {
  if (enabled_) return;
  enabled_ = true;
  const int e = io_uring_enable_rings(&ring_->uring);
  CHECK(e >= 0);
}

// --- submission ---

io_uring_sqe* UringLoop::next_sqe() {
  io_uring* ring = &ring_->uring;
  io_uring_sqe* sqe = io_uring_get_sqe(ring);
  // The queue is full: submit what is there and go on. Short of memory the kernel may take nothing.
  for (int i = 0; sqe == nullptr && i < 1000; ++i) {
    enable();
    io_uring_submit(ring);
    sqe = io_uring_get_sqe(ring);
  }
  CHECK(sqe != nullptr);
  return sqe;
}

void UringLoop::watch(int fd, std::uint64_t user_data) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_poll_multishot(sqe, fd, POLLIN);
  io_uring_sqe_set_data64(sqe, user_data);
}

std::uint64_t UringLoop::tag(std::uint32_t index) const {
  return index | std::uint64_t{slot(index).generation} << 32;
}

void UringLoop::submit_accept(std::uint32_t index) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_multishot_accept(sqe, ops_[index].fd, nullptr, nullptr,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
  io_uring_sqe_set_data64(sqe, tag(index));
}

void UringLoop::submit_receive(std::uint32_t index) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_recv_multishot(sqe, ops_[index].fd, nullptr, 0, 0);
  sqe->flags = static_cast<std::uint8_t>(sqe->flags | IOSQE_BUFFER_SELECT);
  sqe->buf_group = kReceiveGroup;
  io_uring_sqe_set_data64(sqe, tag(index));
}

void UringLoop::submit_receive_once(std::uint32_t index) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_recv(sqe, ops_[index].fd, nullptr, limits::kReceiveBufferBytes, 0);
  sqe->flags = static_cast<std::uint8_t>(sqe->flags | IOSQE_BUFFER_SELECT);
  sqe->buf_group = kReceiveGroup;
  io_uring_sqe_set_data64(sqe, tag(index));
}

void UringLoop::submit_receive_datagrams(std::uint32_t index) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_recvmsg_multishot(sqe, ops_[index].fd, &ring_->header, 0);
  sqe->flags = static_cast<std::uint8_t>(sqe->flags | IOSQE_BUFFER_SELECT);
  sqe->buf_group = kDatagramGroup;
  io_uring_sqe_set_data64(sqe, tag(index));
}

void UringLoop::start_accept(std::uint32_t index, int fd) {
  ops_.link(index, fd, OpKind::Accept);
  submit_accept(index);
}

void UringLoop::start_connect(std::uint32_t index, int fd, const Address& to) {
  ops_.link(index, fd, OpKind::Connect);
  io_uring_sqe* sqe = next_sqe();
  SockAddr& name = ring_->connect_to[static_cast<std::size_t>(sqe - ring_->uring.sq.sqes)];
  name = SockAddr(to);
  io_uring_prep_connect(sqe, fd, &name.any, name.size);
  io_uring_sqe_set_data64(sqe, tag(index));
}

void UringLoop::start_receive(std::uint32_t index, int fd) {
  ops_.link(index, fd, OpKind::Receive);
  submit_receive(index);
}

void UringLoop::start_receive_once(std::uint32_t index, int fd) {
  ops_.link(index, fd, OpKind::ReceiveOnce);
  submit_receive_once(index);
}

void UringLoop::start_receive_datagrams(std::uint32_t index, int fd) {
  OpTable::Entry& entry = ops_.link(index, fd, OpKind::ReceiveDatagrams);
  int error = 0;
  if (!ring_->datagrams.is_open()) {
    error = ring_->datagrams.open(&ring_->uring, kDatagramGroup, limits::kDatagramBuffers,
                                  limits::kDatagramBufferBytes);
  }
  if (error < 0) {
    entry.result = error;
    return arm_again(index);
  }
  SockAddr name;
  if (::getsockname(fd, &name.any, &name.size) == 0) entry.result = name.address().port;
  submit_receive_datagrams(index);
}

void UringLoop::start_poll(std::uint32_t index, int fd, int ready) {
  ops_.link(index, fd, OpKind::Poll).mask = static_cast<std::uint8_t>(ready);
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_poll_add(sqe, fd, static_cast<unsigned>(ready));
  io_uring_sqe_set_data64(sqe, tag(index));
}

void UringLoop::start_cancel(std::uint32_t index) {
  OpTable::Entry& entry = ops_[index];
  if (entry.cancelling) return;
  entry.cancelling = true;
  if (entry.queued) return;  // ended in the kernel already; settle() says so
  if (entry.kind == OpKind::PollAside) return arm_again(index);
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_cancel64(sqe, tag(index), 0);
  sqe->flags = static_cast<std::uint8_t>(sqe->flags | IOSQE_CQE_SKIP_SUCCESS);
  io_uring_sqe_set_data64(sqe, kIgnored);
}

void UringLoop::close_raw(int fd) {
  for (std::uint32_t i = ops_.first(fd); i != OpTable::kNone; i = ops_[i].next) start_cancel(i);
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_close(sqe, fd);
  sqe->flags = static_cast<std::uint8_t>(sqe->flags | IOSQE_CQE_SKIP_SUCCESS);
  io_uring_sqe_set_data64(sqe, kIgnored);
}

// --- a turn ---

void UringLoop::wait(Instant until) {
  enable();
  io_uring* ring = &ring_->uring;
  int e = 0;
  if (until <= now() || !unsettled_.empty()) {
    e = io_uring_submit_and_get_events(ring);
  } else if (until == Instant::never()) {
    e = io_uring_submit_and_wait(ring, 1);
  } else {
    io_uring_cqe* first = nullptr;
    __kernel_timespec ts = to_timespec(until - clock());
    e = io_uring_submit_and_wait_timeout(ring, &first, 1, &ts, nullptr);
  }
  // EBUSY: completions wait in the kernel until some are taken; EAGAIN, ENOMEM: short of memory.
  CHECK(e >= 0 || e == -ETIME || e == -EINTR || e == -EBUSY || e == -EAGAIN || e == -ENOMEM);
  collect();
}

void UringLoop::collect() {
  events_.clear();
  unsigned head = 0;
  io_uring_cqe* cqe = nullptr;
  std::size_t bytes = 0;
  io_uring_for_each_cqe(&ring_->uring, head, cqe) {
    if (events_.size() == limits::kCompletionsPerTurnMax) break;
    if (bytes >= limits::kTurnReceiveBytesMax) break;
    events_.push_back({cqe->user_data, cqe->res, cqe->flags});
    const bool has_bytes = cqe->res > 0 && (cqe->flags & IORING_CQE_F_BUFFER) != 0;
    if (has_bytes) bytes += static_cast<std::size_t>(cqe->res);
  }
  io_uring_cq_advance(&ring_->uring, static_cast<unsigned>(events_.size()));
}

void UringLoop::run_collected() {
  for (const Event& event : events_) run(event);
  settle();
}

void UringLoop::run(const Event& event) {
  const auto index = static_cast<std::uint32_t>(event.user_data);
  if (index >= slot_count()) {
    const bool ended = (event.flags & IORING_CQE_F_MORE) == 0;
    if (event.user_data == kWake && ended) watch(wake_fd(), kWake);
    if (event.user_data == kAside && ended) watch(aside_.get(), kAside);
    if (event.user_data == kAside) collect_aside();
    return;
  }
  if (event.user_data != tag(index) || !slot(index).busy) return;  // late, for a slot used anew
  switch (ops_[index].kind) {
    case OpKind::Accept: return on_accept(index, event);
    case OpKind::Receive: return on_receive(index, event);
    case OpKind::ReceiveOnce: return on_receive_once(index, event);
    case OpKind::ReceiveDatagrams: return on_datagrams(index, event);
    case OpKind::Poll: return on_poll(index, event);
    case OpKind::Connect: return finish(index, event.result);
    case OpKind::PollAside:
    case OpKind::None: break;
  }
  CHECK(false && "a busy slot has an operation");
}

void UringLoop::on_accept(std::uint32_t index, const Event& event) {
  if (event.result >= 0) {
    if ((event.flags & IORING_CQE_F_MORE) == 0) arm_again(index);
    if (!complete(index, {.result = event.result, .more = true})) Fd(event.result).reset();
    return;
  }
  if (transient_accept_error(-event.result)) return arm_again(index);
  finish(index, event.result);
}

void UringLoop::on_receive(std::uint32_t index, const Event& event) {
  BufferRing& buffers = ring_->streams;
  const bool has_buffer = (event.flags & IORING_CQE_F_BUFFER) != 0;
  const auto id = static_cast<std::uint16_t>(event.flags >> IORING_CQE_BUFFER_SHIFT);
  if (event.result > 0) {
    CHECK(has_buffer);
    if ((event.flags & IORING_CQE_F_MORE) == 0) arm_again(index);
    complete(index, {.result = event.result,
                     .more = true,
                     .data = {buffers.at(id), static_cast<std::size_t>(event.result)}});
    return buffers.give_back(id);
  }
  if (has_buffer) buffers.give_back(id);
  if (event.result == -ENOBUFS) return arm_again(index);
  finish(index, event.result);
}

void UringLoop::on_receive_once(std::uint32_t index, const Event& event) {
  if (event.result == -ENOBUFS) return arm_again(index);
  if ((event.flags & IORING_CQE_F_BUFFER) == 0) return finish(index, event.result);
  const auto id = static_cast<std::uint16_t>(event.flags >> IORING_CQE_BUFFER_SHIFT);
  const auto size = static_cast<std::size_t>(std::max(event.result, 0));
  ops_.erase(index);
  complete(index, {.result = event.result, .data = {ring_->streams.at(id), size}});
  ring_->streams.give_back(id);
}

void UringLoop::on_datagrams(std::uint32_t index, const Event& event) {
  BufferRing& buffers = ring_->datagrams;
  const bool has_buffer = (event.flags & IORING_CQE_F_BUFFER) != 0;
  const auto id = static_cast<std::uint16_t>(event.flags >> IORING_CQE_BUFFER_SHIFT);
  if (event.result > 0 && has_buffer) {
    // Also after an empty datagram, which ends the kernel's multishot.
    if ((event.flags & IORING_CQE_F_MORE) == 0) arm_again(index);
    if (io_uring_recvmsg_out* out =
            io_uring_recvmsg_validate(buffers.at(id), event.result, &ring_->header)) {
      Completion c;
      describe(*out, event.result, c);
      c.local.port = static_cast<std::uint16_t>(ops_[index].result);
      complete(index, c);
    }
    return buffers.give_back(id);
  }
  if (has_buffer) buffers.give_back(id);
  if (event.result == -ENOBUFS) return arm_again(index);
  finish(index, event.result);
}

// The kernel's layout: io_uring_recvmsg_out, the sender's address, control messages, the bytes.
void UringLoop::describe(io_uring_recvmsg_out& out, int bytes, Completion& c) {
  msghdr* header = &ring_->header;
  auto* payload = static_cast<std::uint8_t*>(io_uring_recvmsg_payload(&out, header));
  c.data = {payload, io_uring_recvmsg_payload_length(&out, bytes, header)};
  c.result = static_cast<int>(c.data.size());
  c.more = true;
  SockAddr peer;
  std::memcpy(&peer.v6, io_uring_recvmsg_name(&out),
              std::min<std::size_t>(out.namelen, sizeof peer.v6));
  c.peer = peer.address();
  msghdr control{};
  control.msg_control = payload - kControlBytes;
  control.msg_controllen = std::min<std::size_t>(out.controllen, kControlBytes);
  read_control(control, c);
}

void UringLoop::on_poll(std::uint32_t index, const Event& event) {
  if (event.result < 0) return finish(index, event.result);
  const bool failed = (event.result & (POLLERR | POLLHUP | POLLNVAL)) != 0;
  const int ready = failed ? kReadable | kWritable : event.result & ops_[index].mask;
  if (ready == 0) return poll_aside(index);
  finish(index, ready);
}

void UringLoop::finish(std::uint32_t index, int result) {
  ops_.erase(index);
  complete(index, {.result = result});
}

void UringLoop::arm_again(std::uint32_t index) {
  ops_[index].queued = true;
  unsettled_.push_back(index);
}

void UringLoop::settle() {
  // What handlers add here waits for the next turn, which then does not block.
  const std::size_t count = unsettled_.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t index = unsettled_[i];
    OpTable::Entry& entry = ops_[index];
    entry.queued = false;
    if (entry.cancelling) {
      finish(index, -ECANCELED);
    } else if (entry.result < 0) {
      finish(index, entry.result);
    } else {
      switch (entry.kind) {
        case OpKind::Accept: submit_accept(index); break;
        case OpKind::Receive: submit_receive(index); break;
        case OpKind::ReceiveOnce: submit_receive_once(index); break;
        case OpKind::ReceiveDatagrams: submit_receive_datagrams(index); break;
        case OpKind::PollAside: finish(index, entry.result); break;
        case OpKind::Connect:
        case OpKind::Poll:
        case OpKind::None: CHECK(false && "one-shot operations are not armed again");
      }
    }
  }
  unsettled_.erase(unsettled_.begin(), unsettled_.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace adit::io
