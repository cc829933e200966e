#include "io/uring_probe.h"

#include <liburing.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <memory>

#include "io/fd.h"

namespace adit::io {
namespace {

constexpr unsigned kBuffers = 4;  // the end of the stream asks for one as well
constexpr unsigned kBufferBytes = 64;
constexpr int kGroup = 0;

struct FreeProbe {
  void operator()(io_uring_probe* p) const { io_uring_free_probe(p); }
};

Status know_operations(io_uring& ring) {
  const std::unique_ptr<io_uring_probe, FreeProbe> probe(io_uring_get_probe_ring(&ring));
  if (!probe) return Error{ENOSYS, "io_uring: no probe"};
  for (const int op : {IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_RECV, IORING_OP_RECVMSG,
                       IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE}) {
    if (!io_uring_opcode_supported(probe.get(), op)) {
      return Error{EOPNOTSUPP, "io_uring: operation " + std::to_string(op) + " is missing"};
    }
  }
  constexpr unsigned kNeeded = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                               IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
  if ((ring.features & kNeeded) != kNeeded) {
    return Error{EOPNOTSUPP, "io_uring: features are missing"};
  }
  return {};
}

// The next completion within a second, its flags in `flags`; or -errno.
int next_result(io_uring& ring, unsigned& flags) {
  io_uring_cqe* cqe = nullptr;
  __kernel_timespec ts{1, 0};
  const int e = io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &ts, nullptr);
  if (e < 0) return e;
  if (cqe == nullptr) return -ETIME;
  const int result = cqe->res;
  flags = cqe->flags;
  io_uring_cqe_seen(&ring, cqe);
  return result;
}

Status receive_multishot(io_uring& ring) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return errno_error(errno, "socketpair");
  }
  const Fd near(pair[0]);
  const Fd far(pair[1]);
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  io_uring_prep_recv_multishot(sqe, near.get(), nullptr, 0, 0);
  sqe->flags = IOSQE_BUFFER_SELECT;
  sqe->buf_group = kGroup;
  if (const int e = io_uring_submit(&ring); e < 0) return errno_error(-e, "io_uring_submit");
  for (int i = 0; i < 2; ++i) {  // twice: the second is what multishot means
    if (::send(far.get(), "x", 1, MSG_NOSIGNAL) != 1) return errno_error(errno, "send");
    unsigned flags = 0;
    const int got = next_result(ring, flags);
    if (got < 0) return errno_error(-got, "io_uring: multishot receive");
    if (got != 1 || (flags & IORING_CQE_F_BUFFER) == 0 || (flags & IORING_CQE_F_MORE) == 0) {
      return Error{EOPNOTSUPP, "io_uring: multishot receive does not work"};
    }
  }
  ::shutdown(far.get(), SHUT_WR);
  unsigned flags = 0;
  const int end = next_result(ring, flags);
  if (end != 0) return Error{EOPNOTSUPP, "io_uring: multishot receive has no end"};
  return {};
}

Status accept_multishot(io_uring& ring) {
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const Fd visitor(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener || !visitor) return errno_error(errno, "socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  socklen_t size = sizeof(sa_family_t);  // the family alone: the kernel picks an abstract name
  auto* any = reinterpret_cast<sockaddr*>(&name);
  if (::bind(listener.get(), any, size) != 0) return errno_error(errno, "bind");
  if (::listen(listener.get(), 1) != 0) return errno_error(errno, "listen");
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  io_uring_prep_multishot_accept(sqe, listener.get(), nullptr, nullptr,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (const int e = io_uring_submit(&ring); e < 0) return errno_error(-e, "io_uring_submit");
  size = sizeof name;
  if (::getsockname(listener.get(), any, &size) != 0) return errno_error(errno, "getsockname");
  if (::connect(visitor.get(), any, size) != 0) return errno_error(errno, "connect");
  unsigned flags = 0;
  const int got = next_result(ring, flags);
  if (got < 0) return errno_error(-got, "io_uring: multishot accept");
  Fd(got).reset();
  if ((flags & IORING_CQE_F_MORE) == 0) {
    return Error{EOPNOTSUPP, "io_uring: accept is not multishot"};
  }
  return {};
}

Status test_with(io_uring& ring) {
  if (Status s = know_operations(ring); !s) return s;
  int error = 0;
  io_uring_buf_ring* buffers = io_uring_setup_buf_ring(&ring, kBuffers, kGroup, 0, &error);
  if (buffers == nullptr) return errno_error(-error, "io_uring buffer ring");
  std::array<char, kBuffers * kBufferBytes> memory;
  for (unsigned i = 0; i < kBuffers; ++i) {
    io_uring_buf_ring_add(buffers, memory.data() + i * kBufferBytes, kBufferBytes,
                          static_cast<unsigned short>(i), io_uring_buf_ring_mask(kBuffers),
                          static_cast<int>(i));
  }
  io_uring_buf_ring_advance(buffers, kBuffers);
  Status result = receive_multishot(ring);
  if (result) result = accept_multishot(ring);
  io_uring_free_buf_ring(&ring, buffers, kBuffers, kGroup);
  return result;
}

Status probe() {
  io_uring ring{};
  if (const int e = io_uring_queue_init(8, &ring, 0); e < 0) {
    return errno_error(-e, "io_uring_setup");
  }
  Status result = test_with(ring);
  io_uring_queue_exit(&ring);
  return result;
}

}  // namespace

// The answer is the process's; and rings come and go by calls that a thread sanitizer does not see,
// so that it takes one that another thread gets at the same address for a race.
Status probe_uring() {
  static const Status answer = probe();
  return answer;
}

}  // namespace adit::io
