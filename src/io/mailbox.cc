#include "io/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/limits.h"

namespace adit::io {

Result<std::unique_ptr<Mailbox>> Mailbox::open() {
  Fd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake) return errno_error(errno, "eventfd");
  return std::unique_ptr<Mailbox>(new Mailbox(std::move(wake)));
}

bool Mailbox::post(std::unique_ptr<Message> message) {
  {
    const std::lock_guard guard(lock_);
    if (waiting_.size() >= limits::kMailboxMessagesMax) return false;
    waiting_.push_back(std::move(message));
    count_.store(waiting_.size(), std::memory_order_seq_cst);
  }
  // Sequentially consistent on both sides: either this sees the loop asleep, or the loop sees the count.
  if (sleeping_.exchange(false, std::memory_order_seq_cst)) {
    const eventfd_t one = 1;
    // Cannot be full: it would take 2^64 wake-ups.
    CHECK(::eventfd_write(wake_.get(), one) == 0);
  }
  return true;
}

bool Mailbox::prepare_sleep() {
  sleeping_.store(true, std::memory_order_seq_cst);
  if (count_.load(std::memory_order_seq_cst) == 0) return true;
  awake();
  return false;
}

void Mailbox::run() {
  if (count_.load(std::memory_order_acquire) == 0) return;
  {
    const std::lock_guard guard(lock_);
    running_.swap(waiting_);
    count_.store(0, std::memory_order_seq_cst);
  }
  for (std::unique_ptr<Message>& message : running_) {
    message->run();
    message.reset();
  }
  running_.clear();
}

}  // namespace adit::io
