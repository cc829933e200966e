#include "io/answer_routing.h"

#include <linux/fib_rules.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <set>
#include <vector>

#include "io/rtnetlink.h"
#include "io/sockaddr.h"

namespace adit::io {

namespace {

constexpr std::uint32_t kTableBase = 0xad000000;
constexpr unsigned kSlots = 64;  // processes of one network namespace
constexpr unsigned kProofTable = AnswerRouting::kTables - 1;
// Behind the kernel's table of local addresses (0), before all that sends packets away: the main
// table (32766), and what VPNs put before that.
constexpr std::uint32_t kPriority = 1730;
constexpr int kProofPatienceMs = 2000;
// "lo" in every network namespace: the kernel makes it before any other.
constexpr std::uint32_t kLoopbackIndex = 1;
constexpr std::size_t kLeftoversMax = 200'000;

constexpr std::uint32_t table_of(unsigned slot, unsigned index) {
  return kTableBase | slot << 16 | index;
}
constexpr bool is_ours(std::uint32_t table) { return (table & 0xff000000) == kTableBase; }
constexpr unsigned slot_of(std::uint32_t table) { return table >> 16 & 0xff; }

// A name in the network namespace, as the rules are; it goes with the process, however that ends.
Result<Fd> lock_slot(unsigned slot) {
  Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(errno, "socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  // The first byte is 0: not a file (unix(7), abstract).
  const int length =
      std::snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "adit-answers-%u", slot);
  const std::size_t size =
      offsetof(sockaddr_un, sun_path) + 1 + static_cast<std::size_t>(length);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name),
             static_cast<socklen_t>(size)) != 0)
    return errno_error(errno, "bind");
  return fd;
}

constexpr std::uint8_t kFamilies[] = {AF_INET, AF_INET6};
std::uint8_t family_of(bool v4) { return v4 ? AF_INET : AF_INET6; }
std::uint8_t bits_of(bool v4) { return v4 ? 32 : 128; }
// As the kernel has it: 4 or 16 bytes.
Bytes wire(const IpAddress& ip) {
  const Bytes all(ip.bytes);
  return ip.is_v4() ? all.last(4) : all;
}

fib_rule_hdr rule_header(std::uint8_t family) {
  fib_rule_hdr header{};
  header.family = family;
  header.action = FR_ACT_TO_TBL;
  return header;
}

rtmsg route_header(std::uint8_t family, std::uint8_t bits) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_dst_len = bits;
  header.rtm_protocol = kRouteProtocol;
  header.rtm_type = RTN_LOCAL;
  header.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  return header;
}

// Local, to `target`; none: to everybody.
RtRequest route_request(std::uint16_t type, std::uint16_t flags, std::uint32_t table, bool v4,
                        Bytes target) {
  const auto bits = static_cast<std::uint8_t>(target.size() * 8);
  RtRequest request(type, flags, route_header(family_of(v4), bits));
  request.attribute(RTA_TABLE, table);
  if (!target.empty()) request.attribute(RTA_DST, target);
  request.attribute(RTA_OIF, kLoopbackIndex);
  return request;
}

constexpr std::uint16_t kNew = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

// What carries our mark.
struct Found {
  std::vector<RtEntry> entries;
  void on_entry(const RtEntry& entry) {
    if (entry.protocol == kRouteProtocol && is_ours(entry.table) && entries.size() < kLeftoversMax)
      entries.push_back(entry);
  }
};

}  // namespace

struct AnswerRouting::Netlink {
  RtNetlink socket;

  // Rules first: so they are removed first, and what is still answered meanwhile goes the way of
  // all others.
  Found all() {
    Found found;
    const auto each = Delegate<void(const RtEntry&)>::to<&Found::on_entry>(&found);
    for (const std::uint8_t family : kFamilies) {
      fib_rule_hdr rule{};
      rule.family = family;
      rtmsg route{};
      route.rtm_family = family;
      // A kernel without IPv6 has none of it.
      static_cast<void>(socket.dump(RtRequest(RTM_GETRULE, NLM_F_DUMP, rule), each));
      static_cast<void>(socket.dump(RtRequest(RTM_GETROUTE, NLM_F_DUMP, route), each));
    }
    return found;
  }
  void remove(const Found& found, unsigned slot) {
    for (const RtEntry& entry : found.entries)
      if (slot_of(entry.table) == slot) remove(entry);
  }
  void remove(const RtEntry& entry) {
    if (entry.is_rule) {
      remove_rule(entry);
    } else {
      remove_route(entry);
    }
  }
  void remove_rule(const RtEntry& rule) {
    RtRequest request(RTM_DELRULE, NLM_F_ACK, rule_header(rule.family));
    request.attribute(FRA_TABLE, rule.table);
    request.attribute(FRA_PRIORITY, rule.priority);
    static_cast<void>(socket.ask(request));  // gone already: well
  }
  void remove_route(const RtEntry& route) {
    const bool v4 = route.family == AF_INET;
    const Bytes target = Bytes(route.target).first(route.target_bits / 8);
    static_cast<void>(
        socket.ask(route_request(RTM_DELROUTE, NLM_F_ACK, route.table, v4, target)));
  }
};

Result<std::unique_ptr<AnswerRouting>> AnswerRouting::open() {
  auto netlink = RtNetlink::open();
  if (!netlink) return std::move(netlink).error();
  Error last{EAGAIN, "no slot"};
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    auto lock = lock_slot(slot);
    if (!lock) {
      last = std::move(lock).error();
      continue;
    }
    std::unique_ptr<AnswerRouting> made(new AnswerRouting(
        std::make_unique<Netlink>(Netlink{std::move(*netlink)}), slot, std::move(*lock)));
    made->remove_own();  // of a process that had the slot before
    made->remove_leftovers();
    return made;
  }
  return std::move(last).with("64 agents of this network have transparent services already, or "
                              "somebody else holds the sockets @adit-answers-0 to 63");
}

AnswerRouting::AnswerRouting(std::unique_ptr<Netlink> netlink, unsigned slot, Fd lock)
    : netlink_(std::move(netlink)), slot_(slot), lock_(std::move(lock)) {}

AnswerRouting::~AnswerRouting() { remove_own(); }

void AnswerRouting::remove_own() { netlink_->remove(netlink_->all(), slot_); }

void AnswerRouting::remove_leftovers() {
  const Found left = netlink_->all();
  std::set<unsigned> slots;
  for (const RtEntry& entry : left.entries) slots.insert(slot_of(entry.table));
  for (const unsigned slot : slots)
    if (const auto unused = lock_slot(slot)) netlink_->remove(left, slot);
}

std::uint32_t AnswerRouting::table(unsigned index) const {
  CHECK(index < kTables);
  return table_of(slot_, index);
}

Status AnswerRouting::add_rule(std::uint32_t table, const AnswerRule& rule) {
  const bool v4 = rule.service.is_v4();
  const auto make = [&](bool by_source) {
    fib_rule_hdr header = rule_header(family_of(v4));
    if (by_source) header.src_len = bits_of(v4);
    RtRequest request(RTM_NEWRULE, kNew, header);
    request.attribute(FRA_TABLE, table);
    request.attribute(FRA_PRIORITY, kPriority);
    request.attribute(FRA_PROTOCOL, kRouteProtocol);
    request.attribute(FRA_IP_PROTO, static_cast<std::uint8_t>(
        rule.transport == Transport::Tcp ? IPPROTO_TCP : IPPROTO_UDP));
    request.attribute(FRA_SPORT_RANGE, fib_rule_port_range{rule.ports.first, rule.ports.last});
    if (by_source) {
      request.attribute(FRA_SRC, wire(rule.service));
    } else {
      request.attribute(FRA_IIFNAME, as_bytes(std::string_view("lo", 3)));  // with its zero
    }
    return netlink_->socket.ask(request);
  };
  if (auto ok = make(true); !ok) return ok;
  if (rule.transport == Transport::Tcp) return {};
  // A UDP socket that is bound to no address asks for a route before it has one; "from lo" is what
  // this machine sends itself.
  return make(false);
}

Status AnswerRouting::add_everybody(std::uint32_t table, bool v4) {
  return netlink_->socket.ask(route_request(RTM_NEWROUTE, kNew, table, v4, {}));
}

Status AnswerRouting::add_visitor(std::uint32_t table, const IpAddress& visitor,
                                  const IpAddress& service) {
  RtRequest request = route_request(RTM_NEWROUTE, kNew, table, visitor.is_v4(), wire(visitor));
  request.attribute(RTA_PREFSRC, wire(service));
  Status made = netlink_->socket.ask(request);
  // It is not an address of this machine: the service is somewhere behind it.
  if (!made && made.error().code == EINVAL)
    made = netlink_->socket.ask(
        route_request(RTM_NEWROUTE, kNew, table, visitor.is_v4(), wire(visitor)));
  if (!made && made.error().code == EEXIST) return {};
  return made;
}

void AnswerRouting::remove_visitor(std::uint32_t table, const IpAddress& visitor) {
  static_cast<void>(netlink_->socket.ask(
      route_request(RTM_DELROUTE, NLM_F_ACK, table, visitor.is_v4(), wire(visitor))));
}

// --- the proof ---

Status AnswerRouting::prove(bool v4) {
  const IpAddress loopback = v4 ? IpAddress::loopback4() : IpAddress::loopback6();
  IpAddress example6;
  example6.bytes = {0x20, 0x01, 0x0d, 0xb8};
  example6.bytes[15] = 1;
  Status proved = prove_at({v4 ? IpAddress::v4(192, 0, 2, 1) : example6, 0}, loopback);
  const std::uint32_t table = table_of(slot_, kProofTable);
  for (const RtEntry& entry : netlink_->all().entries)
    if (entry.table == table) netlink_->remove(entry);
  return proved;
}

Status AnswerRouting::prove_at(const Address& visitor, const IpAddress& loopback) {
  const int family = family_of(loopback.is_v4());
  const Fd listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener) return errno_error(errno, "socket");
  SockAddr at(Address{loopback, 0});
  if (::bind(listener.get(), &at.any, at.size) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), &at.any, &at.size) != 0)
    return errno_error(errno, "listen").with(loopback.text());
  const std::uint16_t port = at.address().port;
  const std::uint32_t table = table_of(slot_, kProofTable);
  if (auto ok = add_rule(table, {Transport::Tcp, loopback, {port, port}}); !ok)
    return std::move(ok).with("ip rule");
  if (auto ok = add_everybody(table, loopback.is_v4()); !ok) return std::move(ok).with("ip route");
  const Fd visit(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!visit) return errno_error(errno, "socket");
  if (auto ok = bind_to_foreign(visit.get(), visitor, Transport::Tcp); !ok) return ok;
  const SockAddr to(Address{loopback, port});
  if (::connect(visit.get(), &to.any, to.size) != 0 && errno != EINPROGRESS)
    return errno_error(errno, "connect");
  pollfd ready{listener.get(), POLLIN, 0};
  if (::poll(&ready, 1, kProofPatienceMs) != 1)
    return Error{ETIMEDOUT, "a trial connection does not come back: does a firewall drop on lo?"};
  SockAddr seen;
  const Fd accepted(::accept4(listener.get(), &seen.any, &seen.size, SOCK_CLOEXEC));
  if (!accepted) return errno_error(errno, "accept");
  if (seen.address().ip == visitor.ip) return {};
  return Error{EPROTO, "a trial connection from " + visitor.ip.text() + " came from " +
                           seen.address().ip.text()};
}

// --- sockets ---

Status bind_to_foreign(int fd, const Address& address, Transport transport) {
  const bool v4 = address.ip.is_v4();
  const int on = 1;
  const int set = v4 ? ::setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on)
                     : ::setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on);
  if (set != 0) return errno_error(errno, "IP_TRANSPARENT");
  // A visitor has one port toward several services, and one that ended a moment ago.
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  SockAddr name(address);
  if (address.port != 0 && ::bind(fd, &name.any, name.size) == 0) return {};
  const bool another = errno == EACCES || errno == EADDRINUSE;
  if (address.port != 0 && !another) return errno_error(errno, "bind").with(address.text());
  // The port when it is known where to: else there were some 28000 connections of one address.
  if (transport == Transport::Tcp)
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  name = SockAddr(Address{address.ip, 0});
  if (::bind(fd, &name.any, name.size) == 0) return {};
  return errno_error(errno, "bind").with(address.ip.text());
}

}  // namespace adit::io
