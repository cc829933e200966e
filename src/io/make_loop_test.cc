// Where io_uring is refused, as container runtimes do it: by a seccomp filter.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "io/loop.h"

namespace adit::io {
namespace {

// io_uring_setup, _enter, _register: the same numbers on all architectures.
constexpr unsigned kFirstCall = 425;
constexpr unsigned kLastCall = 427;

bool refuse_io_uring(unsigned error) {
  std::array<sock_filter, 5> filter{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kFirstCall, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kLastCall, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

enum Verdict { kEpoll = 10, kNoFilter, kNoLoop, kOtherLoop, kNoReason, kForcedAnyway };

Verdict choose_under(unsigned error) {
  if (!refuse_io_uring(error)) return kNoFilter;
  const auto choice = make_loop();
  if (!choice) return kNoLoop;
  if (choice->loop->backend() != Backend::Epoll) return kOtherLoop;
  if (!choice->reason.starts_with("epoll: io_uring_setup: ")) return kNoReason;
  if (make_loop(Backend::Uring)) return kForcedAnyway;
  return kEpoll;
}

TEST(MakeLoop, FallsBackWhereIoUringIsRefused) {
  for (const int error : {EPERM, ENOSYS, EACCES, ENOMEM}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ::_exit(choose_under(static_cast<unsigned>(error)));
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kNoFilter) GTEST_SKIP() << "seccomp filters are refused here";
    EXPECT_EQ(WEXITSTATUS(status), kEpoll) << "errno " << error;
  }
}

}  // namespace
}  // namespace adit::io
