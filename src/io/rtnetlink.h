// Questions to the kernel's rtnetlink(7) that are answered at once: the call sends, and reads the
// answer. Private to this room.
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/check.h"
#include "base/delegate.h"
#include "base/result.h"
#include "io/fd.h"

namespace adit::io {

// One message: a header of the kind's own (rtmsg, fib_rule_hdr), then attributes.
class RtRequest {
 public:
  // `flags` beside NLM_F_REQUEST.
  template <class Header>
  RtRequest(std::uint16_t type, std::uint16_t flags, const Header& header) {
    put_header(type, flags, Bytes(reinterpret_cast<const std::uint8_t*>(&header), sizeof header));
  }

  void attribute(std::uint16_t type, Bytes value);
  template <class T>
  void attribute(std::uint16_t type, const T& value) {
    attribute(type, Bytes(reinterpret_cast<const std::uint8_t*>(&value), sizeof value));
  }

  Bytes message() const { return Bytes(bytes_).first(size_); }

 private:
  void put_header(std::uint16_t type, std::uint16_t flags, Bytes header);

  alignas(nlmsghdr) std::array<std::uint8_t, 256> bytes_{};
  std::size_t size_ = 0;
};

// A rule or a route as the kernel tells it.
struct RtEntry {
  bool is_rule = false;
  std::uint8_t family = 0;
  std::uint8_t protocol = 0;   // who made it; rules: FRA_PROTOCOL
  std::uint8_t type = 0;       // of a route
  std::uint8_t target_bits = 0;
  std::uint32_t table = 0;
  std::uint32_t priority = 0;  // of a rule
  std::array<std::uint8_t, 16> target{};  // of a route
};

class RtNetlink {
 public:
  // Errors: a sandbox without netlink.
  static Result<RtNetlink> open();

  // Waits for the acknowledgement. The error is the kernel's: EPERM, EEXIST, ESRCH.
  Status ask(const RtRequest& request);
  // `each` for each entry of the answer.
  Status dump(const RtRequest& request, Delegate<void(const RtEntry&)> each);

 private:
  explicit RtNetlink(Fd fd) : fd_(std::move(fd)) {}

  Status send(const RtRequest& request);

  Fd fd_;
};

// Calls `each` for the header of each message in `bytes`, with what follows it. False: it is cut.
bool for_messages(Bytes bytes, Delegate<void(const nlmsghdr&, Bytes)> each);

}  // namespace adit::io
