#include "sim/sim_world.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_tcp.h"

namespace adit::sim {

namespace {

constexpr std::int64_t kEpochSeconds = 1'767'225'600;  // 2026-01-01T00:00:00Z
// Not zero: an Instant that nobody has set lies in the past.
constexpr Instant kStart{1'000'000'000'000};

constexpr std::size_t kHeaders4 = 20 + 8, kHeaders6 = 40 + 8;  // IP and UDP
constexpr std::uint8_t kEcnCe = 3;                             // RFC 3168 §5

std::size_t header_bytes(const Address& to) { return to.ip.is_v4() ? kHeaders4 : kHeaders6; }

}  // namespace

struct World::InFlight {
  std::size_t from, to;  // hosts
  Datagram datagram;
};

World::World(std::uint64_t seed)
    : seed_(seed), prng_(seed), now_(kStart), tcp_(std::make_unique<TcpNet>(*this)) {}

World::~World() {
  // Both may own sockets, which close while their hosts are still there.
  events_.clear();
  for (auto& h : hosts_)
    for (std::size_t i = 0; i < h->loop_count(); ++i) h->loop(i).drop_messages();
}

WallTime World::wall_time() const {
  return WallTime{kEpochSeconds * 1'000'000'000 + (now_ - kStart).count()};
}

Host& World::add_host(std::string name, std::vector<IpAddress> addresses) {
  hosts_.push_back(std::make_unique<Host>(*this, hosts_.size(), std::move(name), addresses));
  Host& h = *hosts_.back();
  for (const IpAddress& ip : addresses) add_owner(ip, &h);
  return h;
}

void World::add_owner(const IpAddress& ip, Host* host) {
  const auto [it, inserted] = owners_.emplace(ip, host);
  CHECK(inserted || it->second == host);  // two hosts with one address
}

void World::set_faults(const Faults& faults) {
  for (auto& h : hosts_) h->faults = faults;
}

// --- the network ---

Path& World::path(const Host& from, const Host& to) {
  const std::pair key(from.index(), to.index());
  const auto known = paths_.find(key);
  if (known != paths_.end()) return known->second;
  Path& p = paths_[key];
  p.model = default_link_;
  if (&from == &to) p.model = LinkModel{.delay = 5us, .mtu = 65536, .queue_bytes = SIZE_MAX / 2};
  return p;
}

void World::set_link(Host& a, Host& b, const LinkModel& model) {
  path(a, b).model = model;
  path(b, a).model = model;
}

void World::set_cut(Host& a, Host& b, bool cut) {
  path(a, b).cut = cut;
  path(b, a).cut = cut;
}

void World::rebind_nat(Host& host) {
  host.nat_ = true;
  host.nat_out_.clear();
  host.nat_in_.clear();
}

void World::rebind_nat(Host& host, const IpAddress& public_ip) {
  rebind_nat(host);
  if (host.nat_ip_ && *host.nat_ip_ != public_ip) owners_.erase(*host.nat_ip_);
  host.nat_ip_ = public_ip;
  add_owner(public_ip, &host);
}

Host* World::owner(const IpAddress& ip) {
  const auto it = owners_.find(ip);
  return it == owners_.end() ? nullptr : it->second;
}

bool World::up(const Host& from, const Host& to) { return path(from, to).up(); }

void World::send_datagram(Host& sender, Datagram datagram) {
  const Address to = datagram.to;
  Host* receiver = is_loopback(to.ip) ? &sender : owner(to.ip);
  if (receiver == nullptr) return;
  if (receiver != &sender) datagram.from = sender.outside(datagram.from);
  const std::size_t bytes = datagram.bytes.size() + header_bytes(to);
  const Path::Arrivals arrivals =
      path(sender, *receiver).send_datagram(now_, bytes, datagram.fragment, prng_);
  if (arrivals.marked && datagram.ecn != 0) datagram.ecn = kEcnCe;
  for (std::size_t i = 0; i < arrivals.count; ++i) {
    schedule(arrivals.at[i],
             [this, f = InFlight{sender.index(), receiver->index(), datagram}]() mutable {
               datagram_arrives(std::move(f));
             });
  }
}

void World::datagram_arrives(InFlight flight) {
  Host& sender = *hosts_[flight.from];
  Host& host = *hosts_[flight.to];
  Datagram& d = flight.datagram;
  if (!up(sender, host)) return;
  if (!is_loopback(d.to.ip) && owner(d.to.ip) != &host) return;
  if (&sender != &host) {
    const std::optional<Address> inside = host.inside(d.to);
    if (!inside) return;
    d.to = *inside;
  }
  trace("datagram", host, d.to.port, d.bytes);
  SimSocket* s = host.datagram_socket_at(d.to, d.from);
  if (s == nullptr) {
    // ICMP port unreachable, which only a connected socket is told of.
    if (!up(host, sender)) return;
    const Instant at = path(host, sender).send_segment(now_, kHeaders6, prng_);
    return schedule(at, [&sender, to = d.from, from = d.to] {
      SimSocket* told = sender.datagram_socket_at(sender.inside(to).value_or(to), from);
      if (told == nullptr || told->peer != from) return;
      told->error = ECONNREFUSED;
      sender.touch(told->fd);
    });
  }
  if (s->received_bytes + d.bytes.size() > s->received_bytes_max) {
    ++host.stats.datagrams_dropped;
    return;
  }
  ++host.stats.datagrams_received;
  s->received_bytes += d.bytes.size();
  s->received.push_back(std::move(d));
  host.touch(s->fd);
}

// --- running ---

void World::schedule(Instant t, Event event) {
  events_.push_back({std::max(t, now_), sequence_++, std::move(event)});
  std::push_heap(events_.begin(), events_.end());
}

void World::at(Instant t, Event event) {
  schedule(t, [this, e = std::move(event)]() mutable {
    catch_up_loops();
    e();
  });
}

void World::catch_up_loops() {
  for (auto& h : hosts_) {
    if (h->paused()) continue;
    for (std::size_t i = 0; i < h->loop_count(); ++i) h->loop(i).catch_up();
  }
}

World::Next World::next() {
  Next n{events_.empty() ? Instant::never() : events_.front().at, nullptr};
  for (auto& h : hosts_) {
    if (h->paused()) continue;
    for (std::size_t i = 0; i < h->loop_count(); ++i) {
      // At the same time events come first: one turn then sees all of them.
      if (h->loop(i).due() < n.at) n = {h->loop(i).due(), &h->loop(i)};
    }
  }
  return n;
}

void World::step(const Next& next) {
  CHECK(!stepping_);  // a handler must not run the world
  stepping_ = true;
  ++steps_;
  now_ = std::max(now_, next.at);
  if (next.loop != nullptr) {
    next.loop->run_turn();
  } else {
    std::pop_heap(events_.begin(), events_.end());
    Event event = std::move(events_.back().event);
    events_.pop_back();
    event();
  }
  stepping_ = false;
}

bool World::run_until(const Predicate& done, Duration limit) {
  return run_until_instant(done, now_ + limit);
}

void World::run_for(Duration d) {
  run_until([] { return false; }, d);
}

bool World::run_until_instant(const Predicate& done, Instant end) {
  catch_up_loops();
  while (!done()) {
    const Next n = next();
    if (n.at > end || n.at == Instant::never()) {
      if (end != Instant::never()) now_ = end;
      catch_up_loops();
      return false;
    }
    if (steps_ >= steps_max_) {
      std::fprintf(stderr, "sim: seed %llu: %llu steps, now at %.6f s: probably a livelock\n",
                   static_cast<unsigned long long>(seed_), static_cast<unsigned long long>(steps_),
                   static_cast<double>((now_ - kStart).count()) / 1e9);
      return false;
    }
    step(n);
  }
  catch_up_loops();
  return true;
}

// --- trace ---

void World::trace(std::string_view what, const Host& host, std::uint64_t a, Bytes data) {
  constexpr std::uint64_t kPrime = 0x100000001b3u;  // FNV-1a
  const auto word = [&](std::uint64_t v) { trace_ = (trace_ ^ v) * kPrime; };
  word(static_cast<std::uint64_t>(now_.ns));
  for (const char c : what) word(static_cast<unsigned char>(c));
  word(host.index());
  word(a);
  word(data.size());
  if (!trace_contents_) return;
  for (const std::uint8_t b : data) word(b);
}

}  // namespace adit::sim
