// Gives memory that is free inside the heap back to the system, every now and then and only where
// there is much of it. The allocator does so by itself at the heap's end alone: a thousand
// handshakes at once, or ten thousand visitors, leave holes between what stays. For the whole
// process; one thread has it.
#pragma once

#include "io/loop.h"

namespace adit::app {

class HeapKeeper {
 public:
  explicit HeapKeeper(io::Loop& loop);

 private:
  void look();

  io::Loop& loop_;
  io::Timer timer_;
};

}  // namespace adit::app
