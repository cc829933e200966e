#include "io/mailbox.h"

#include <sys/eventfd.h>

#include <cerrno>

#include "base/limits.h"

namespace adit::io {

Result<std::unique_ptr<Mailbox>> Mailbox::open() {
  Fd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake) return errno_error(errno, "eventfd");
  return std::unique_ptr<Mailbox>(new Mailbox(std::move(wake)));
}

Mailbox::~Mailbox() {
  for (Node* node = take(); node != nullptr;) {
    const std::unique_ptr<Node> owned(node);
    node = node->next;
  }
}

bool Mailbox::post(std::unique_ptr<Message> message) {
  if (count_.fetch_add(1, std::memory_order_relaxed) >= limits::kMailboxMessagesMax) {
    count_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  // No ABA: nodes are taken all at once, never one from the top.
  Node* node = new Node{std::move(message), newest_.load(std::memory_order_relaxed)};
  while (!newest_.compare_exchange_weak(node->next, node, std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
  }
  // Sequentially consistent on both sides: either this sees the loop asleep, or the loop sees the
  // message.
  if (sleeping_.exchange(false, std::memory_order_seq_cst)) {
    // Cannot be full: that takes 2^64 wake-ups.
    CHECK(::eventfd_write(wake_.get(), 1) == 0);
  }
  return true;
}

bool Mailbox::prepare_sleep() {
  sleeping_.store(true, std::memory_order_seq_cst);
  if (newest_.load(std::memory_order_seq_cst) == nullptr) return true;
  awake();
  return false;
}

Mailbox::Node* Mailbox::take() {
  if (newest_.load(std::memory_order_relaxed) == nullptr) return nullptr;
  Node* node = newest_.exchange(nullptr, std::memory_order_acquire);
  Node* oldest = nullptr;
  std::size_t n = 0;
  while (node != nullptr) {
    Node* next = node->next;
    node->next = oldest;
    oldest = node;
    node = next;
    ++n;
  }
  count_.fetch_sub(n, std::memory_order_relaxed);
  return oldest;
}

void Mailbox::run() {
  for (Node* node = take(); node != nullptr;) {
    const std::unique_ptr<Node> owned(node);
    node = node->next;
    owned->message->run();
  }
}

}  // namespace adit::io
