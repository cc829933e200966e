// Messages from other threads to one loop: a lock-free stack that the loop takes whole and turns
// round. The event counter is written only when the receiving loop may be asleep, so a busy loop
// costs its senders no system call.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "io/fd.h"
#include "io/loop.h"

namespace adit::io {

class Mailbox {
 public:
  static Result<std::unique_ptr<Mailbox>> open();
  // Destroys what is left. No sender may be at work any more.
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Readable (as an edge) when the loop has to wake up. Never read: the loops watch for edges.
  int wake_fd() const { return wake_.get(); }

  // Any thread. False when full; the message is destroyed.
  bool post(std::unique_ptr<Message> message);

  // --- the loop's thread ---
  // Before it blocks. False: messages are waiting, do not block.
  bool prepare_sleep();
  void awake() { sleeping_.store(false, std::memory_order_relaxed); }
  // Runs what was waiting at the call, each sender's in its order; what these post runs in the next
  // turn.
  void run();

 private:
  struct Node {
    std::unique_ptr<Message> message;
    Node* next;
  };
  explicit Mailbox(Fd wake) : wake_(std::move(wake)) {}
  // Everything that waits, oldest first.
  Node* take();

  Fd wake_;
  std::atomic<bool> sleeping_ = false;
  std::atomic<std::size_t> count_ = 0;  // of the bound: at least what is in the stack
  std::atomic<Node*> newest_ = nullptr;
};

}  // namespace adit::io
