#include "sim/sim_host.h"

#include <algorithm>
#include <cerrno>

#include "sim/sim_loop.h"
#include "sim/sim_tcp.h"
#include "sim/sim_world.h"

namespace adit::sim {

namespace {

// Apart from the numbers of real descriptors, so that a mix-up fails at once.
constexpr int kFirstDescriptor = 100'000;
constexpr std::uint16_t kFirstEphemeralPort = 32768;

bool matches(const IpAddress& bound, const IpAddress& to) {
  return bound == to || bound == IpAddress::any6() || (bound == IpAddress::any4() && to.is_v4());
}

void erase_entry(std::multimap<std::uint16_t, SimSocket*>& table, const SimSocket& s) {
  const auto [first, last] = table.equal_range(s.local.port);
  for (auto it = first; it != last; ++it) {
    if (it->second != &s) continue;
    table.erase(it);
    return;
  }
}

}  // namespace

bool is_loopback(const IpAddress& ip) {
  if (ip.is_v4()) return ip.bytes[12] == 127;
  return ip.bytes[15] == 1 &&
         std::all_of(ip.bytes.begin(), ip.bytes.end() - 1, [](std::uint8_t b) { return b == 0; });
}

Host::Host(World& world, std::size_t index, std::string name, std::vector<IpAddress> addresses)
    : world_(world), index_(index), name_(std::move(name)), addresses_(std::move(addresses)) {
  CHECK(!addresses_.empty());
  next_port_ = static_cast<std::uint16_t>(kFirstEphemeralPort + world.prng().below(20000));
  add_loop();
}

Host::~Host() = default;

SimLoop& Host::add_loop() {
  loops_.push_back(std::make_unique<SimLoop>(world_, *this));
  return *loops_.back();
}

bool Host::owns(const IpAddress& ip) const {
  return is_loopback(ip) || std::find(addresses_.begin(), addresses_.end(), ip) != addresses_.end();
}

IpAddress Host::source_for(const IpAddress& toward) const {
  if (is_loopback(toward) || owns(toward)) return toward;
  for (const IpAddress& a : addresses_)
    if (a.is_v4() == toward.is_v4()) return a;
  return addresses_.front();
}

void Host::change_address(const IpAddress& old, const IpAddress& now) {
  const auto it = std::find(addresses_.begin(), addresses_.end(), old);
  CHECK(it != addresses_.end());
  *it = now;
  world_.owners_.erase(old);
  world_.add_owner(now, this);
  for (auto& [port, s] : datagram_sockets_)
    if (s->local.ip == old) s->local.ip = now;
}

void Host::pause(Duration d) {
  pause();
  world_.after(d, [this, mine = ++pauses_] {
    if (pauses_ == mine) resume();
  });
}

// --- descriptors ---

bool Host::out_of_descriptors() const { return world_.now() < faults.no_descriptors_until; }

SimSocket& Host::open(SimSocket::Kind kind) {
  // The lowest free number, as a kernel does: whoever uses a stale one meets somebody else's
  // socket.
  const int fd = free_descriptors_.empty() ? kFirstDescriptor + static_cast<int>(sockets_.size())
                                           : *free_descriptors_.begin();
  free_descriptors_.erase(fd);
  auto s = std::make_unique<SimSocket>();
  s->fd = fd;
  s->kind = kind;
  return *(sockets_[fd] = std::move(s));
}

SimSocket* Host::find(int fd) {
  const auto it = sockets_.find(fd);
  return it == sockets_.end() ? nullptr : it->second.get();
}

std::uint16_t Host::ephemeral_port() {
  for (;;) {
    if (next_port_ == UINT16_MAX) next_port_ = kFirstEphemeralPort;
    const std::uint16_t port = next_port_++;
    if (!listeners_.contains(port) && !datagram_sockets_.contains(port)) return port;
  }
}

Status Host::bind(SimSocket& s, const Address& at) {
  if (!at.ip.is_any() && !owns(at.ip)) return errno_error(EADDRNOTAVAIL, "bind");
  s.local = at;
  if (at.port == 0) s.local.port = ephemeral_port();
  ByPort& table = s.kind == SimSocket::Kind::Listener ? listeners_ : datagram_sockets_;
  const auto [first, last] = table.equal_range(s.local.port);
  for (auto it = first; it != last; ++it) {
    const SimSocket& o = *it->second;
    if (o.local.ip == s.local.ip && !(o.reuse_port && s.reuse_port))
      return errno_error(EADDRINUSE, "bind");
  }
  table.emplace(s.local.port, &s);
  return {};
}

void Host::close(int fd) {
  SimSocket* s = find(fd);
  CHECK(s != nullptr);
  for (const SimSocket::OpRef& ref : std::vector(std::move(s->ops)))
    ref.loop->descriptor_closed(ref.slot);
  switch (s->kind) {
    case SimSocket::Kind::Fresh: break;
    case SimSocket::Kind::Listener:
      erase_entry(listeners_, *s);
      for (const TcpId id : s->waiting) world_.tcp().refused_by_close(id);
      break;
    case SimSocket::Kind::Stream:
      world_.tcp().close(s->connection, s->side, s->abort_on_close);
      break;
    case SimSocket::Kind::Datagram: erase_entry(datagram_sockets_, *s); break;
  }
  sockets_.erase(fd);
  free_descriptors_.insert(fd);
}

void Host::touch(int fd) {
  SimSocket* s = find(fd);
  if (s == nullptr) return;
  for (const SimSocket::OpRef& ref : s->ops) ref.loop->touch(ref.slot);
}

// The most exact match: connected, then bound to the address, then to any of the family, then to
// any.
SimSocket* Host::best(const ByPort& table, const Address& to, const Address& from) {
  const auto score = [&](const SimSocket& s) {
    if (!matches(s.local.ip, to.ip)) return 0;
    if (s.peer != Address{}) return s.peer == from ? 4 : 0;
    return s.local.ip == to.ip ? 3 : s.local.ip == IpAddress::any4() ? 2 : 1;
  };
  std::vector<SimSocket*> group;
  int top = 1;
  const auto [first, last] = table.equal_range(to.port);
  for (auto it = first; it != last; ++it) {
    const int n = score(*it->second);
    if (n > top) group.clear();
    if (n >= top) group.push_back(it->second);
    top = std::max(top, n);
  }
  if (group.empty()) return nullptr;
  std::uint64_t h = from.port;
  for (std::uint8_t b : from.ip.bytes) h = h * 31 + b;
  return group[Prng(h).below(group.size())];
}

SimSocket* Host::listener_at(const Address& to, const Address& from) {
  return best(listeners_, to, from);
}

SimSocket* Host::datagram_socket_at(const Address& to, const Address& from) {
  return best(datagram_sockets_, to, from);
}

// --- address translation ---

Address Host::outside(const Address& inside) {
  if (!nat_ || is_loopback(inside.ip)) return inside;
  const auto known = nat_out_.find(inside);
  if (known != nat_out_.end()) return known->second;
  const Address out{nat_ip_.value_or(inside.ip), nat_port_++};
  nat_out_[inside] = out;
  nat_in_[out] = inside;
  return out;
}

std::optional<Address> Host::inside(const Address& outside) const {
  if (!nat_ || is_loopback(outside.ip)) return outside;
  const auto known = nat_in_.find(outside);
  if (known == nat_in_.end()) return std::nullopt;
  return known->second;
}

}  // namespace adit::sim
