#include "service/agent/visitor_ways.h"

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "service/agent/local_service.h"

namespace adit::service {

namespace {

constexpr std::string_view kLocalhost = "localhost";

// Someone's own address, that may be shown to a service: not a loopback, link-local, multicast or
// unspecified one. A relay that says such a thing would make a service believe that it is asked
// from its own machine.
bool is_presentable(const IpAddress& ip) {
  if (ip.is_loopback()) return false;
  const auto& b = ip.bytes;
  // RFC 1122 §3.2.1.3: 0/8 is this network; from 224 on there is nobody's own address.
  if (ip.is_v4()) return b[12] != 0 && b[12] < 224 && !(b[12] == 169 && b[13] == 254);
  // RFC 4291 §2.4; link-local addresses (fe80::/10) say nothing without their interface.
  return !ip.is_any() && b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

std::string_view family_name(const IpAddress& ip) { return ip.is_v4() ? "IPv4" : "IPv6"; }

}  // namespace

Result<std::vector<IpAddress>> transparent_targets(const HostPort& to) {
  if (to.host == kLocalhost)
    return std::vector<IpAddress>{IpAddress::loopback4(), IpAddress::loopback6()};
  auto ip = IpAddress::parse(to.host);
  if (ip && ip->is_any())
    return Error{EINVAL, "\"" + to.host + "\" is no address that a service answers from"};
  if (ip) return std::vector<IpAddress>{*ip};
  return Error{EINVAL, "\"" + to.host + "\" is not an address, as a transparent service needs one"};
}

VisitorWays::Hold::~Hold() {
  if (entry_ != nullptr) ways_->release(*entry_, transport_);
}

Result<std::unique_ptr<VisitorWays>> VisitorWays::open(
    io::Loop& loop, Log& log, Metrics& metrics,
    const std::vector<LocalServiceSettings>& services) {
  if (std::ranges::none_of(services, &LocalServiceSettings::transparent))
    return std::unique_ptr<VisitorWays>();
  auto routing = io::AnswerRouting::open();
  if (!routing) return std::move(routing).error().with("transparent");
  std::unique_ptr<VisitorWays> made(new VisitorWays(loop, metrics, std::move(*routing)));
  for (const LocalServiceSettings& s : services) {
    if (!s.transparent) continue;
    const auto transport = s.kind == ServiceKind::Udp ? io::Transport::Udp : io::Transport::Tcp;
    const std::size_t ports = s.ports ? s.ports->size() : 1;
    Status added = made->add_doors(log, s.to, transport, ports);
    if (added && s.to_udp) added = made->add_doors(log, *s.to_udp, io::Transport::Udp, 1);
    if (added) continue;
    Error error = std::move(added).error();
    if (error.code == EPERM || error.code == EACCES)
      error.what += "; start the agent as root, or give it CAP_NET_ADMIN";
    return std::move(error).with("transparent service " + s.to.text());
  }
  return made;
}

VisitorWays::VisitorWays(io::Loop& loop, Metrics& metrics,
                         std::unique_ptr<io::AnswerRouting> routing)
    : loop_(loop),
      routing_(std::move(routing)),
      holds_(*routing_, metrics),
      timer_(loop, Delegate<void()>::to<&VisitorWays::on_timer>(this)) {}

Status VisitorWays::add_doors(Log& log, const HostPort& to, io::Transport transport,
                              std::size_t ports) {
  auto targets = transparent_targets(to);
  if (!targets) return std::move(targets).error();
  const PortRange range{to.port, static_cast<std::uint16_t>(to.port + ports - 1)};
  for (const IpAddress& ip : *targets) {
    Status added = prove(ip.is_v4());
    if (added) added = add_door({transport, ip, range});
    if (added) continue;
    // A machine without IPv6 has visitors by IPv4, and "localhost" is one address there.
    if (ip.is_v4() || targets->size() == 1) return added;
    log.warn("agent.transparent_without_ipv6", {{"to", to.text()}, {"why", added.error().what}});
  }
  return {};
}

Status VisitorWays::prove(bool v4) {
  std::optional<bool>& before = proved_[v4 ? 0 : 1];
  if (before && *before) return {};
  Status proved = routing_->prove(v4);
  before = static_cast<bool>(proved);
  return proved;
}

Status VisitorWays::add_door(const io::AnswerRule& rule) {
  Door door{rule, 0, rule.transport == io::Transport::Tcp && rule.service.is_loopback()};
  for (const Door& d : doors_)
    if (d.rule == rule) return {};
  door.table = routing_->table(static_cast<unsigned>(doors_.size()));
  // What comes from a loopback address has no way out of this machine in any case, so its table
  // may hold everybody. A UDP service is often bound to no address at all, and then answers others
  // as well, on this machine and off it.
  if (door.everybody)
    if (auto ok = routing_->add_everybody(door.table, rule.service.is_v4()); !ok)
      return std::move(ok).with("ip route");
  if (auto ok = routing_->add_rule(door.table, rule); !ok) return std::move(ok).with("ip rule");
  doors_.push_back(door);
  return {};
}

const VisitorWays::Door* VisitorWays::find(io::Transport transport, const IpAddress& ip,
                                           std::uint16_t port) const {
  for (const Door& d : doors_)
    if (d.rule.transport == transport && d.rule.service == ip && d.rule.ports.contains(port))
      return &d;
  return nullptr;
}

Result<VisitorWays::Way> VisitorWays::way(io::Transport transport, const HostPort& to,
                                          const Address& visitor) {
  if (!is_presentable(visitor.ip))
    return Error{EADDRNOTAVAIL, visitor.ip.text() + " is not shown to a service as its visitor's"};
  auto targets = transparent_targets(to);
  if (!targets) return std::move(targets).error();
  for (const IpAddress& ip : *targets) {
    if (ip.is_v4() != visitor.ip.is_v4()) continue;
    const Door* door = find(transport, ip, to.port);
    if (door == nullptr) break;
    Way out{{ip.text(), to.port}, visitor, {}};
    if (door->everybody) return out;
    auto held = holds_.hold(door->table, visitor.ip, ip);
    if (!held) return std::move(held).error();
    out.hold.ways_ = this;
    out.hold.entry_ = *held;
    out.hold.transport_ = transport;
    return out;
  }
  return Error{EAFNOSUPPORT, "turned away: a visitor by " + std::string(family_name(visitor.ip)) +
                                 ", and the transparent service has no such address"};
}

std::string VisitorWays::families(const LocalServiceSettings& service) const {
  const auto transport =
      service.kind == ServiceKind::Udp ? io::Transport::Udp : io::Transport::Tcp;
  bool v4 = false, v6 = false;
  if (const auto targets = transparent_targets(service.to))
    for (const IpAddress& ip : *targets)
      if (find(transport, ip, service.to.port) != nullptr) (ip.is_v4() ? v4 : v6) = true;
  return v4 && v6 ? "IPv4 and IPv6" : v4 ? "IPv4 only" : "IPv6 only";
}

void VisitorWays::release(VisitorHolds::Entry& entry, io::Transport transport) {
  holds_.release(entry, transport, loop_.now());
  if (!timer_.armed()) timer_.set(loop_.now() + limits::kForeignVisitorLinger);
}

void VisitorWays::on_timer() { timer_.set(holds_.expire(loop_.now())); }

}  // namespace adit::service
