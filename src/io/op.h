// Operations in flight. The owner embeds an Op and names the handler; the loop knows it by a slot
// number only. The kernel never holds an address inside an owner: data is received into the loop's
// buffers and sent from the caller's during the call. So an Op may be destroyed while in flight:
// its destructor detaches it, the loop cancels what is left and drops the late completion.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "base/delegate.h"

namespace adit::io {

class Loop;

struct Completion {
  // >= 0: what the operation yields (bytes, a descriptor, ready events); < 0: -errno.
  int result = 0;
  // The operation is still armed; false exactly once, on its last completion.
  bool more = false;
  // receive, receive_datagrams: the bytes, valid until the handler returns. result 0 without data:
  // end of the stream.
  Bytes data = {};
  // receive_datagrams: sender, our address it came to, and where `data` holds several datagrams
  // coalesced (UDP_GRO) the size of each but the last; 0: one datagram. ECN bits (RFC 3168) as
  // received.
  Address peer = {}, local = {};
  std::uint16_t segment_bytes = 0;
  std::uint8_t ecn = 0;
};

class Op {
 public:
  using Handler = Delegate<void(const Completion&)>;

  explicit Op(Handler handler) : handler_(handler) {}
  ~Op();  // in flight: detached and cancelled
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  bool armed() const { return loop_ != nullptr; }

 private:
  friend class Loop;
  Handler handler_;
  Loop* loop_ = nullptr;  // set while in flight
  std::uint32_t slot_ = 0;
};

}  // namespace adit::io
