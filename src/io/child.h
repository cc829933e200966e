// One run of another program: started, waited for on the loop, ended at its deadline.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/delegate.h"
#include "base/result.h"
#include "io/fd.h"
#include "io/loop.h"

namespace adit::io {

class Child {
 public:
  // Called once, and may destroy the child: an error where the program ended with another code than
  // 0, by a signal, or not in time.
  using Done = Delegate<void(Status)>;

  // `arguments[0]` is the program's path. No shell; standard input is empty, output and errors are
  // ours; signals are as a new program expects them. A real loop only (descriptors).
  static Result<std::unique_ptr<Child>> start(Loop& loop, std::vector<std::string> arguments,
                                              Deadline deadline, Done done);
  ~Child();  // kills it if it still runs
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  Child(Loop& loop, std::string name, pid_t pid, Fd pidfd, Done done);
  void on_exit(const Completion& c);
  void on_deadline();
  Status outcome();

  Loop& loop_;
  std::string name_;
  pid_t pid_;  // 0: it was waited for
  Fd pidfd_;   // outlives the poll on it
  Done done_;
  bool late_ = false;
  Op exit_;
  Timer deadline_;
};

}  // namespace adit::io
