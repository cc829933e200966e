// Messages from other threads to one loop. The lock is held for a push or a swap only; the event counter
// is written only when the receiving loop may be asleep, so a busy loop costs its senders no system call.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "io/fd.h"
#include "io/loop.h"

namespace adit::io {

class Mailbox {
 public:
  static Result<std::unique_ptr<Mailbox>> open();

  // Readable (as an edge) when the loop has to wake up. It is never read: the loops watch for edges.
  int wake_fd() const { return wake_.get(); }

  // Any thread. False when full; the message is destroyed.
  bool post(std::unique_ptr<Message> message);

  // --- the loop's thread ---
  // Before it blocks. False: messages are waiting, do not block.
  bool prepare_sleep();
  void awake() { sleeping_.store(false, std::memory_order_relaxed); }
  // Runs what was waiting at the call; what these messages post is run in the next turn.
  void run();

 private:
  explicit Mailbox(Fd wake) : wake_(std::move(wake)) {}

  Fd wake_;
  std::atomic<bool> sleeping_ = false;
  std::atomic<std::size_t> count_ = 0;
  std::mutex lock_;
  std::vector<std::unique_ptr<Message>> waiting_;  // under lock_
  std::vector<std::unique_ptr<Message>> running_;  // the loop's thread only
};

}  // namespace adit::io
