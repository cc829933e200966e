// Process signals as events of the loop. Real loops only.
#pragma once

#include <memory>
#include <span>

#include "base/delegate.h"
#include "base/result.h"
#include "io/fd.h"
#include "io/loop.h"

namespace adit::io {

class Signals {
 public:
  using Handler = Delegate<void(int signal)>;

  // Blocks `signals` in the calling thread; call it before other threads are started, which inherit
  // that, or the signals go to them. Programs started by this one inherit it too and have to undo
  // it.
  static Result<std::unique_ptr<Signals>> open(Loop& loop, std::span<const int> signals,
                                               Handler handler);
  // Unblocks what open() has blocked. The handler may destroy this object.
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  struct Mask;
  Signals(Loop& loop, Handler handler, Fd fd, std::unique_ptr<Mask> blocked);
  void wait();
  void on_readable(const Completion& completion);

  Loop& loop_;
  Handler handler_;
  std::unique_ptr<Mask> blocked_;
  Fd fd_;
  Op readable_{Op::Handler::to<&Signals::on_readable>(this)};
};

}  // namespace adit::io
