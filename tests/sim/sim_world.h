// A world of hosts on a simulated network, with a virtual clock. All loops run on the calling
// thread, one turn after the other; whatever happens follows from the seed alone, so a failing run
// repeats exactly.
//
//   World world(seed);
//   Host& relay = world.add_host("relay", {IpAddress::v4(192, 0, 2, 1)});
//   Host& agent = world.add_host("agent", {IpAddress::v4(198, 51, 100, 7)});
//   world.set_link(relay, agent, {.delay = 20ms, .loss = 0.01});
//   Thing a(relay.loop()), b(agent.loop());
//   ASSERT_TRUE(world.run_until([&] { return b.done(); }, 10s));
//
// The world outlives everything that uses its loops.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/prng.h"
#include "base/time.h"
#include "sim/sim_net.h"

namespace adit::sim {

class Host;
class SimLoop;
class TcpNet;
struct Datagram;

class World {
 public:
  using Event = std::move_only_function<void()>;
  using Predicate = std::function<bool()>;

  explicit World(std::uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::uint64_t seed() const { return seed_; }
  Instant now() const { return now_; }
  // 2026-01-01T00:00:00Z plus the virtual time that has passed.
  WallTime wall_time() const;
  Prng& prng() { return prng_; }

  Host& add_host(std::string name, std::vector<IpAddress> addresses);
  std::size_t host_count() const { return hosts_.size(); }
  Host& host(std::size_t index) { return *hosts_[index]; }
  void set_faults(const Faults& faults);  // of all hosts there are

  // --- the network ---
  // For pairs without a link of their own; those that have been used already keep what they had.
  void set_default_link(const LinkModel& model) { default_link_ = model; }
  void set_link(Host& a, Host& b, const LinkModel& model);  // both ways
  Path& path(const Host& from, const Host& to);              // one way
  // Drops everything between two hosts, both ways, until healed.
  void cut(Host& a, Host& b) { set_cut(a, b, true); }
  void heal(Host& a, Host& b) { set_cut(a, b, false); }
  // A firewall that lets TCP through.
  void block_udp(Host& a, Host& b, bool blocked = true) {
    path(a, b).udp_blocked = path(b, a).udp_blocked = blocked;
  }
  // 0: no policer.
  void police_udp(Host& a, Host& b, std::uint64_t bits_a_second) {
    path(a, b).model.udp_police = path(b, a).model.udp_police = bits_a_second;
  }
  // From now on others see this host's UDP packets come from new ports, and from `public_ip` if
  // that is given; what they send to the old ones vanishes. TCP connections stay.
  void rebind_nat(Host& host);
  void rebind_nat(Host& host, const IpAddress& public_ip);

  // --- running --- Runs `event` at `t` or now, whichever is later; outside of any loop's turn, so
  // it may do what a test may do between calls of run_until; but not run the world.
  void at(Instant t, Event event);
  void after(Duration d, Event event) { at(now_ + d, std::move(event)); }
  // Runs until `done` says so, which is asked after every step. False, with the clock at the end,
  // when `limit` passes before; false with a message on standard error when it takes too many
  // steps.
  bool run_until(const Predicate& done, Duration limit);
  void run_for(Duration d);
  // The same up to a point in time; never: until nothing is left to happen.
  bool run_until_instant(const Predicate& done, Instant end);
  std::uint64_t steps() const { return steps_; }
  void set_steps_max(std::uint64_t n) { steps_max_ = n; }  // all calls together

  // --- trace ---
  // A hash of all that was delivered so far, and when: equal for two runs of one seed.
  std::uint64_t trace_hash() const { return trace_; }
  // Without contents, where the bytes come from a source that the seed does not control.
  void set_trace_contents(bool on) { trace_contents_ = on; }

  // --- for the simulated kernel ---
  void schedule(Instant t, Event event);
  void trace(std::string_view what, const Host& host, std::uint64_t a, Bytes data = {});
  Host* owner(const IpAddress& ip);  // null: nobody answers there
  bool up(const Host& from, const Host& to);
  TcpNet& tcp() { return *tcp_; }
  // Sends a datagram by IP; what becomes of it is up to the network. Its `from` is the sender's own
  // address.
  void send_datagram(Host& sender, Datagram datagram);

 private:
  friend class Host;
  struct Scheduled {
    Instant at;
    std::uint64_t sequence = 0;
    Event event;
    bool operator<(const Scheduled& o) const {  // for a heap with the soonest on top
      return std::pair(o.at, o.sequence) < std::pair(at, sequence);
    }
  };
  struct InFlight;

  // The next thing to happen: an event, or a loop's turn (`loop` is set).
  struct Next {
    Instant at;
    SimLoop* loop = nullptr;
  };
  Next next();
  void step(const Next& next);
  void catch_up_loops();
  void set_cut(Host& a, Host& b, bool cut);
  void datagram_arrives(InFlight flight);
  void add_owner(const IpAddress& ip, Host* host);

  std::uint64_t seed_;
  Prng prng_;
  Instant now_;
  std::uint64_t sequence_ = 0, steps_ = 0, steps_max_ = 50'000'000;
  std::uint64_t trace_ = 0xcbf29ce484222325u;  // FNV-1a's start
  bool trace_contents_ = true, stepping_ = false;
  std::vector<Scheduled> events_;  // a heap
  LinkModel default_link_;
  std::map<std::pair<std::size_t, std::size_t>, Path> paths_;
  std::map<IpAddress, Host*> owners_;
  std::unique_ptr<TcpNet> tcp_;
  std::vector<std::unique_ptr<Host>> hosts_;
};

}  // namespace adit::sim
