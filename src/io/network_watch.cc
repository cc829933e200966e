#include "io/network_watch.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "io/answer_routing.h"
#include "io/rtnetlink.h"

namespace adit::io {

namespace {
// A row of changes longer than this is gone on with at the next turn.
constexpr int kReadsPerTurnMax = 64;

// Routes that an agent makes for its visitors (io/answer_routing.h) change no network.
struct OursAlone {
  bool all = true;
  void on_message(const nlmsghdr& header, Bytes body) {
    const bool route = header.nlmsg_type == RTM_NEWROUTE || header.nlmsg_type == RTM_DELROUTE;
    constexpr std::size_t kAt = offsetof(rtmsg, rtm_protocol);
    if (!route || body.size() <= kAt || body[kAt] != kRouteProtocol) all = false;
  }
};

bool is_all_ours(Bytes messages) {
  OursAlone found;
  return for_messages(messages, Delegate<void(const nlmsghdr&, Bytes)>::to<
                                    &OursAlone::on_message>(&found)) && found.all;
}
}  // namespace

Result<std::unique_ptr<NetworkWatch>> NetworkWatch::open(Loop& loop, Handler handler) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return errno_error(errno, "netlink");
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  name.nl_groups =
      RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
    return errno_error(errno, "netlink groups");
  return std::unique_ptr<NetworkWatch>(new NetworkWatch(loop, handler, std::move(fd)));
}

NetworkWatch::NetworkWatch(Loop& loop, Handler handler, Fd fd)
    : loop_(loop), handler_(handler), fd_(std::move(fd)), settle_(loop, handler) {
  wait();
}

// What else the messages say does not matter: whoever is told looks for itself. ENOBUFS is news,
// too: there were more than the socket holds.
void NetworkWatch::on_readable(const Completion&) {
  std::array<std::uint8_t, 8192> message;
  bool news = false;
  for (int i = 0; i < kReadsPerTurnMax; ++i) {
    const ssize_t n = ::recv(fd_.get(), message.data(), message.size(), MSG_DONTWAIT);
    if (n < 0 && errno != ENOBUFS) break;
    if (n < 0 || !is_all_ours(Bytes(message).first(static_cast<std::size_t>(n)))) news = true;
  }
  wait();
  if (news && !settle_.armed()) settle_.set(loop_.now() + kSettle);
}

}  // namespace adit::io
