// Tells when an address or a route of this machine (or network namespace) has come or gone, from
// the kernel's rtnetlink(7), so that nobody waits for silence to notice it.
#pragma once

#include <memory>

#include "base/delegate.h"
#include "base/result.h"
#include "io/fd.h"
#include "io/loop.h"

namespace adit::io {

class NetworkWatch {
 public:
  // Called a moment after the last of a row of changes, at most every kSettle; not for each.
  using Handler = Delegate<void()>;
  static constexpr Duration kSettle = 200ms;

  // Errors: a kernel or a sandbox without netlink.
  static Result<std::unique_ptr<NetworkWatch>> open(Loop& loop, Handler handler);

 private:
  NetworkWatch(Loop& loop, Handler handler, Fd fd);
  void wait() { loop_.poll(readable_, fd_.get(), kReadable); }
  void on_readable(const Completion& completion);

  Loop& loop_;
  Handler handler_;
  Fd fd_;
  Op readable_{Op::Handler::to<&NetworkWatch::on_readable>(this)};
  Timer settle_;
};

}  // namespace adit::io
