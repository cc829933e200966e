#include "io/rtnetlink.h"

#include <linux/fib_rules.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace adit::io {

namespace {

// The kernel answers during the call; this is for a kernel that does not.
constexpr timeval kPatience{2, 0};
// Of one answer; tables may be long, and each read brings some hundred entries.
constexpr int kReadsMax = 100'000;
constexpr std::size_t kReadBytes = 32 * 1024;  // as much as the kernel ever gives at a time

std::size_t aligned(std::size_t n) {
  return (n + NLMSG_ALIGNTO - 1) & ~std::size_t{NLMSG_ALIGNTO - 1};
}

template <class T>
bool take(Bytes& from, T& out) {
  if (from.size() < sizeof out) return false;
  std::memcpy(&out, from.data(), sizeof out);
  from = from.subspan(std::min(aligned(sizeof out), from.size()));
  return true;
}

template <class Each>
void for_attributes(Bytes rest, const Each& each) {
  rtattr header;
  while (rest.size() >= sizeof header) {
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > rest.size()) return;
    each(header.rta_type, rest.subspan(sizeof header, header.rta_len - sizeof header));
    rest = rest.subspan(std::min(aligned(header.rta_len), rest.size()));
  }
}

std::uint32_t number(Bytes value) {
  std::uint32_t out = 0;
  std::memcpy(&out, value.data(), std::min(value.size(), sizeof out));
  return out;
}

bool read_rule(Bytes body, RtEntry& out) {
  fib_rule_hdr header;
  if (!take(body, header)) return false;
  out.is_rule = true;
  out.family = header.family;
  out.table = header.table;
  for_attributes(body, [&](std::uint16_t type, Bytes value) {
    if (type == FRA_TABLE) out.table = number(value);
    if (type == FRA_PRIORITY) out.priority = number(value);
    if (type == FRA_PROTOCOL && !value.empty()) out.protocol = value[0];
  });
  return true;
}

bool read_route(Bytes body, RtEntry& out) {
  rtmsg header;
  if (!take(body, header)) return false;
  out.family = header.rtm_family;
  out.protocol = header.rtm_protocol;
  out.type = header.rtm_type;
  out.target_bits = header.rtm_dst_len;
  out.table = header.rtm_table;
  for_attributes(body, [&](std::uint16_t type, Bytes value) {
    if (type == RTA_TABLE) out.table = number(value);
    if (type == RTA_DST)
      std::copy_n(value.begin(), std::min(value.size(), out.target.size()), out.target.begin());
  });
  return true;
}

}  // namespace

void RtRequest::put_header(std::uint16_t type, std::uint16_t flags, Bytes header) {
  nlmsghdr outer{};
  outer.nlmsg_type = type;
  outer.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  size_ = aligned(sizeof outer + header.size());
  CHECK(size_ <= bytes_.size());
  outer.nlmsg_len = static_cast<std::uint32_t>(size_);
  std::memcpy(bytes_.data(), &outer, sizeof outer);
  std::memcpy(bytes_.data() + sizeof outer, header.data(), header.size());
}

void RtRequest::attribute(std::uint16_t type, Bytes value) {
  rtattr header{};
  header.rta_type = type;
  header.rta_len = static_cast<std::uint16_t>(sizeof header + value.size());
  CHECK(size_ + aligned(header.rta_len) <= bytes_.size());
  std::memcpy(bytes_.data() + size_, &header, sizeof header);
  std::memcpy(bytes_.data() + size_ + sizeof header, value.data(), value.size());
  size_ += aligned(header.rta_len);
  const auto length = static_cast<std::uint32_t>(size_);
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
}

bool for_messages(Bytes bytes, Delegate<void(const nlmsghdr&, Bytes)> each) {
  nlmsghdr header;
  while (bytes.size() >= sizeof header) {
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) return false;
    each(header, bytes.subspan(sizeof header, header.nlmsg_len - sizeof header));
    bytes = bytes.subspan(std::min(aligned(header.nlmsg_len), bytes.size()));
  }
  return true;
}

Result<RtNetlink> RtNetlink::open() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return errno_error(errno, "netlink");
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  return RtNetlink(std::move(fd));
}

Status RtNetlink::send(const RtRequest& request) {
  // What an earlier call left behind when it gave up is no answer to this one.
  std::array<std::uint8_t, 64> stale;
  for (int i = 0; i < kReadsMax; ++i)
    if (::recv(fd_.get(), stale.data(), stale.size(), MSG_DONTWAIT) < 0) break;
  const Bytes message = request.message();
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const auto* to = reinterpret_cast<const sockaddr*>(&kernel);
  if (::sendto(fd_.get(), message.data(), message.size(), 0, to, sizeof kernel) < 0)
    return errno_error(errno, "netlink");
  return {};
}

namespace {

// Of one answer: entries as they come, and how it ended.
struct Answer {
  Delegate<void(const RtEntry&)> each;
  bool done = false;
  int error = 0;

  void on_message(const nlmsghdr& header, Bytes body) {
    RtEntry entry;
    switch (header.nlmsg_type) {
      case NLMSG_DONE: done = true; return;
      case NLMSG_ERROR: {
        nlmsgerr said{};
        take(body, said);
        error = -said.error;
        done = true;
        return;
      }
      case RTM_NEWRULE:
        if (read_rule(body, entry)) each(entry);
        return;
      case RTM_NEWROUTE:
        if (read_route(body, entry)) each(entry);
        return;
      default: return;
    }
  }
};

Status read_answer(int fd, Answer& answer) {
  std::array<std::uint8_t, kReadBytes> room;
  for (int i = 0; i < kReadsMax && !answer.done; ++i) {
    const ssize_t n = ::recv(fd, room.data(), room.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "netlink");
    if (!for_messages(Bytes(room).first(static_cast<std::size_t>(n)),
                      Delegate<void(const nlmsghdr&, Bytes)>::to<&Answer::on_message>(&answer)))
      return Error{EPROTO, "netlink: a message that is cut"};
  }
  if (!answer.done) return Error{EMSGSIZE, "netlink: an answer without an end"};
  if (answer.error != 0) return errno_error(answer.error, "netlink");
  return {};
}

struct Nobody {
  void on_entry(const RtEntry&) {}
};

}  // namespace

Status RtNetlink::ask(const RtRequest& request) {
  if (auto ok = send(request); !ok) return ok;
  Nobody nobody;
  Answer answer{Delegate<void(const RtEntry&)>::to<&Nobody::on_entry>(&nobody)};
  return read_answer(fd_.get(), answer);
}

Status RtNetlink::dump(const RtRequest& request, Delegate<void(const RtEntry&)> each) {
  if (auto ok = send(request); !ok) return ok;
  Answer answer{each};
  return read_answer(fd_.get(), answer);
}

}  // namespace adit::io
