// Control messages of UDP sockets: what the kernel says about a datagram received, and what we ask
// of it when sending. Private to this room.
#pragma once

#include <sys/socket.h>

#include <cstddef>

#include "base/result.h"
#include "io/loop.h"

namespace adit::io {

// IP_PKTINFO or IPV6_PKTINFO, TOS or TCLASS, UDP_GRO, each with its header; with room to spare.
inline constexpr std::size_t kControlBytes = 160;

// Fills local.ip, ecn and segment_bytes from the control messages of `header`.
void read_control(msghdr& header, Completion& out);

class DatagramSender {
 public:
  // As Loop::send_datagrams.
  Result<std::size_t> send(int fd, const DatagramBatch& batch);
  bool gso_refused() const { return gso_refused_; }

 private:
  // Once a device on the way could not segment (no checksum offload) all later batches of this loop
  // are sent one by one: asking again costs a failing call each time.
  bool gso_refused_ = false;
};

}  // namespace adit::io
