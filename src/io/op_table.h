// What the real loops keep beside each slot: the descriptor and the kind of operation, and which
// slots wait on a descriptor. 16 bytes a slot and 4 a descriptor: idle connections pay this and no
// more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace adit::io {

enum class OpKind : std::uint8_t {
  None,
  Accept,
  Connect,
  Receive,
  ReceiveOnce,
  ReceiveDatagrams,
  Poll,
  PollAside,  // UringLoop only
};

class OpTable {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Entry {
    int fd = -1;
    std::uint32_t next = kNone;  // another slot on the same descriptor
    int result = 0;              // what is to be delivered, or the poll mask: by kind
    OpKind kind = OpKind::None;
    bool cancelling = false;
    bool queued = false;         // in the loop's own queue
    std::uint8_t mask = 0;       // poll: Ready bits wanted
  };

  Entry& operator[](std::uint32_t slot) { return entries_[slot]; }
  std::uint32_t first(int fd) const {
    const auto i = static_cast<std::size_t>(fd);
    return i < first_.size() ? first_[i] : kNone;
  }
  // Number of operations in flight.
  std::size_t linked() const { return linked_; }

  Entry& link(std::uint32_t slot, int fd, OpKind kind) {
    CHECK(fd >= 0);
    if (slot >= entries_.size()) entries_.resize(slot + 1);
    const auto i = static_cast<std::size_t>(fd);
    if (i >= first_.size()) first_.resize(i + 1, kNone);
    Entry& e = entries_[slot];
    CHECK(e.kind == OpKind::None);
    e = Entry{.fd = fd, .next = first_[i], .kind = kind};
    first_[i] = slot;
    ++linked_;
    return e;
  }

  // Takes the slot off its descriptor, whose number may mean another file from now on.
  void unlink_fd(std::uint32_t slot) {
    Entry& e = entries_[slot];
    if (e.fd < 0) return;
    std::uint32_t* at = &first_[static_cast<std::size_t>(e.fd)];
    while (*at != slot) {
      CHECK(*at != kNone);
      at = &entries_[*at].next;
    }
    *at = e.next;
    e.fd = -1;
    e.next = kNone;
  }

  // The operation is over.
  void erase(std::uint32_t slot) {
    unlink_fd(slot);
    CHECK(entries_[slot].kind != OpKind::None);
    entries_[slot] = Entry{};
    --linked_;
  }

 private:
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> first_;  // by descriptor
  std::size_t linked_ = 0;
};

static_assert(sizeof(OpTable::Entry) == 16);

}  // namespace adit::io
