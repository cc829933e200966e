#include "io/datagram.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/sockaddr.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace adit::io {
namespace {

constexpr std::uint8_t kEcnMask = 3;  // RFC 3168 §5
// The kernel's UDP_MAX_SEGMENTS before Linux 6.9.
constexpr std::size_t kSegmentsMax = 64;
// What fits the 16-bit length of an IPv4 packet with options, or of an IPv6 payload.
constexpr std::size_t kSendBytesMax = 65535 - 60 - 8;

template <class T>
T control_value(const cmsghdr& c) {
  T value{};
  if (c.cmsg_len >= CMSG_LEN(sizeof value)) std::memcpy(&value, CMSG_DATA(&c), sizeof value);
  return value;
}

// Collects control messages in a buffer of fixed size.
class ControlWriter {
 public:
  template <class T>
  void add(int level, int type, const T& value) {
    CHECK(used_ + CMSG_SPACE(sizeof value) <= sizeof buffer_);
    auto* c = reinterpret_cast<cmsghdr*>(buffer_ + used_);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(c), &value, sizeof value);
    used_ += CMSG_SPACE(sizeof value);
  }
  void attach(msghdr& header) {
    if (used_ == 0) return;
    header.msg_control = buffer_;
    header.msg_controllen = used_;
  }

 private:
  alignas(cmsghdr) std::uint8_t buffer_[kControlBytes]{};
  std::size_t used_ = 0;
};

// Bytes sent or -errno. `segment` 0: one datagram.
ssize_t send_message(int fd, const DatagramBatch& batch, Bytes bytes, std::size_t segment) {
  iovec piece{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  SockAddr to(batch.to);
  if (batch.to.port != 0) {
    header.msg_name = &to.any;
    header.msg_namelen = to.size;
  }
  ControlWriter control;
  const bool v4 = batch.to.port != 0 ? batch.to.ip.is_v4() : batch.from.ip.is_v4();
  if (!batch.from.ip.is_any()) {
    if (v4) {
      control.add(IPPROTO_IP, IP_PKTINFO, in_pktinfo{0, to_in_addr(batch.from.ip), {}});
    } else {
      control.add(IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{to_in6_addr(batch.from.ip), 0});
    }
  }
  if (const int tos = batch.ecn & kEcnMask; tos != 0) {
    // A connected socket may be of either family; each ignores the other's message.
    const bool unknown = batch.to.port == 0;
    if (v4 || unknown) control.add(IPPROTO_IP, IP_TOS, tos);
    if (!v4 || unknown) control.add(IPPROTO_IPV6, IPV6_TCLASS, tos);
  }
  if (segment != 0) control.add(SOL_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(segment));
  control.attach(header);
  const ssize_t n = ::sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  return n < 0 ? -errno : n;
}

}  // namespace

void read_control(msghdr& header, Completion& out) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      out.local.ip = from_in_addr(control_value<in_pktinfo>(*c).ipi_addr);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      out.local.ip = from_in6_addr(control_value<in6_pktinfo>(*c).ipi6_addr);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      out.ecn = control_value<std::uint8_t>(*c) & kEcnMask;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      out.ecn = static_cast<std::uint8_t>(control_value<int>(*c) & kEcnMask);
    } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      out.segment_bytes = static_cast<std::uint16_t>(control_value<int>(*c));
    }
  }
  // A single datagram comes without UDP_GRO, or with its own size.
  if (out.segment_bytes >= out.data.size()) out.segment_bytes = 0;
}

Result<std::size_t> DatagramSender::send(int fd, const DatagramBatch& batch) {
  const std::size_t total = batch.bytes.size();
  const std::size_t segment =
      batch.segment_bytes == 0 ? total : std::min(batch.segment_bytes, total);
  const std::size_t burst =
      segment == 0 ? 0
                   : segment * std::clamp<std::size_t>(kSendBytesMax / segment, 1, kSegmentsMax);
  std::size_t sent = 0;
  bool one_by_one = gso_refused_;
  do {
    const std::size_t n = std::min(total - sent, one_by_one ? segment : burst);
    const bool batched = n > segment;
    const ssize_t r = send_message(fd, batch, batch.bytes.subspan(sent, n), batched ? segment : 0);
    if (r >= 0) {
      // EINVAL may also mean that a segment exceeds the path MTU; then single sends fail as well
      // (EMSGSIZE) and say so.
      gso_refused_ = one_by_one;
    } else if (batched && (r == -EIO || r == -EINVAL)) {
      one_by_one = true;
      continue;
    } else if (r == -EAGAIN) {
      return sent;
    } else if (r != -ENOBUFS) {  // a full device queue is a loss like any other on the way
      if (sent > 0) return sent;  // the next call meets the error again
      return errno_error(static_cast<int>(-r), "sendmsg");
    }
    sent += n;
  } while (sent < total);
  return sent;
}

}  // namespace adit::io
