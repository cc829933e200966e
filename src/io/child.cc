#include "io/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

extern char** environ;

namespace adit::io {
namespace {

// What a program gets from us: an empty input, and no signal blocked or ignored.
struct SpawnPlan {
  SpawnPlan() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

}  // namespace

Result<std::unique_ptr<Child>> Child::start(Loop& loop, std::vector<std::string> arguments,
                                            Deadline deadline, Done done) {
  CHECK(!arguments.empty());
  std::vector<char*> pointers;
  for (std::string& a : arguments) pointers.push_back(a.data());
  pointers.push_back(nullptr);
  const SpawnPlan plan;
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, arguments[0].c_str(), &plan.files, &plan.attributes,
                                  pointers.data(), environ);
  if (error != 0) return errno_error(error, arguments[0]);
  const long raw = ::syscall(SYS_pidfd_open, pid, 0);
  if (raw < 0) {
    const int code = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return errno_error(code, "pidfd_open");
  }
  std::unique_ptr<Child> child(
      new Child(loop, arguments[0], pid, Fd(static_cast<int>(raw)), done));
  child->deadline_.set(deadline.instant());
  loop.poll(child->exit_, child->pidfd_.get(), kReadable);
  return child;
}

Child::Child(Loop& loop, std::string name, pid_t pid, Fd pidfd, Done done)
    : loop_(loop),
      name_(std::move(name)),
      pid_(pid),
      pidfd_(std::move(pidfd)),
      done_(done),
      exit_(Op::Handler::to<&Child::on_exit>(this)),
      deadline_(loop, Delegate<void()>::to<&Child::on_deadline>(this)) {}

Child::~Child() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);  // at once: nothing outlives SIGKILL for long
}

void Child::on_deadline() {
  late_ = true;
  ::kill(pid_, SIGKILL);  // its end is seen as any other
}

void Child::on_exit(const Completion& c) {
  if (c.result == -ECANCELED) return;
  deadline_.stop();
  done_(outcome());
}

Status Child::outcome() {
  int status = 0;
  const pid_t waited = ::waitpid(std::exchange(pid_, 0), &status, 0);
  if (late_) return Error{ETIMEDOUT, name_ + " did not end in time"};
  if (waited < 0) return errno_error(errno, name_);
  if (WIFSIGNALED(status))
    return Error{ECHILD, name_ + " was ended by signal " + std::to_string(WTERMSIG(status))};
  if (WEXITSTATUS(status) != 0)
    return Error{ECHILD, name_ + " ended with code " + std::to_string(WEXITSTATUS(status))};
  return {};
}

}  // namespace adit::io
