// Session continuity: links are lost, moved, starved and taken over again, and no visitor loses a
// byte, gets one twice, or sees a reset, as long as the session's link is away for less than the
// resume window.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/limits.h"
#include "sim/scenario.h"
#include "sim/tunnel_world.h"

namespace adit::sim {
namespace {

// Link-less time of a row of disturbances: detection comes 10 to 15 s after it began, and a try
// that is under way when the network is back needs a few more seconds.
constexpr Duration kOutageMax = 25s;
// Apart by this, one disturbance is over before the next begins.
constexpr Duration kCalm = 15s;

Duration between(Prng& prng, Duration low, Duration high) {
  return low + Duration{static_cast<std::int64_t>(
                   prng.below(static_cast<std::uint64_t>((high - low).count()) + 1))};
}

// Small sizes as often as large ones, up to `most`.
std::uint64_t random_size(Prng& prng, std::uint64_t most) {
  const std::uint64_t scale = most >> prng.below(23);
  return prng.below(16) == 0 ? 0 : 1 + prng.below(scale + 1);
}

LinkModel random_link(Prng& prng) {
  LinkModel m;
  m.delay = between(prng, 1ms, prng.chance(0.3) ? 150ms : 30ms);
  if (prng.chance(0.5)) m.jitter = between(prng, Duration{0}, m.delay);
  if (prng.chance(0.5)) m.loss = static_cast<double>(prng.below(50)) / 1000;
  if (prng.chance(0.3)) m.duplicate = static_cast<double>(prng.below(50)) / 1000;
  if (prng.chance(0.3)) m.reorder = static_cast<double>(prng.below(100)) / 1000;
  if (prng.chance(0.6)) m.bandwidth = 1'000'000ull << prng.below(8);
  if (prng.chance(0.2)) m.mtu = 1280 + prng.below(220);
  return m;
}

// What may happen to a link.
enum class Trouble : std::uint8_t {
  Blackout,
  NewAddress,
  Rebind,
  AgentPaused,
  RelayPaused,
  UdpBlocked,
  UdpPoliced,
};
constexpr std::uint64_t kTroubles = 7;

class Troublemaker {
 public:
  explicit Troublemaker(TunnelWorld& t) : t_(t) {}

  // Plans some within the next minute.
  void plan(Prng& prng) {
    Instant at = t_.world.now();
    Duration row{};
    const std::uint64_t count = prng.chance(0.1) ? 0 : 1 + prng.below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
      // The first while most of the visitors are there.
      const Duration gap = between(prng, Duration{0}, i == 0 || prng.chance(0.5) ? 2s : 30s);
      if (gap >= kCalm) row = Duration{0};
      at = at + gap;
      const auto kind = static_cast<Trouble>(prng.below(kTroubles));
      const Duration length = std::min(length_of(kind, prng), kOutageMax - row);
      if (length <= Duration{0}) continue;
      row += length;
      t_.world.at(at, [this, kind, length] { cause(kind, length); });
      at = at + length;
    }
    over_ = at;
  }
  // Plans `count` of them, each over before the next, with outages of up to half a minute.
  void plan_one_by_one(Prng& prng, std::uint64_t count) {
    Instant at = t_.world.now() + 1s;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto kind = static_cast<Trouble>(prng.below(kTroubles));
      const Duration length = kind == Trouble::Blackout ? 30s : length_of(kind, prng);
      t_.world.at(at, [this, kind, length] { cause(kind, length); });
      at = at + length + between(prng, kCalm, 2 * kCalm);
    }
    over_ = at;
  }
  Instant over() const { return over_; }

 private:
  static Duration length_of(Trouble kind, Prng& prng) {
    switch (kind) {
      case Trouble::Blackout: return between(prng, 1s, kOutageMax);
      case Trouble::AgentPaused: return between(prng, 1s, 20s);
      case Trouble::RelayPaused: return between(prng, 100ms, 4s);
      case Trouble::NewAddress:
      case Trouble::Rebind: return 7s;  // until silence is noticed
      case Trouble::UdpBlocked: return between(prng, 1s, 20s);
      case Trouble::UdpPoliced: return between(prng, 1s, 20s);
    }
    return {};
  }

  void cause(Trouble kind, Duration length) {
    switch (kind) {
      case Trouble::Blackout:
        t_.world.cut(t_.relay_host, t_.agent_host);
        t_.world.after(length, [this] { t_.world.heal(t_.relay_host, t_.agent_host); });
        break;
      case Trouble::NewAddress: {
        const IpAddress old = t_.agent_host.address();
        t_.agent_host.change_address(old, IpAddress::v4(198, 51, 100, ++last_byte_));
        break;
      }
      case Trouble::Rebind: t_.world.rebind_nat(t_.agent_host); break;
      case Trouble::UdpBlocked:
        t_.world.block_udp(t_.relay_host, t_.agent_host);
        t_.world.after(length,
                       [this] { t_.world.block_udp(t_.relay_host, t_.agent_host, false); });
        break;
      case Trouble::UdpPoliced:
        t_.world.police_udp(t_.relay_host, t_.agent_host, 500'000);
        t_.world.after(length, [this] { t_.world.police_udp(t_.relay_host, t_.agent_host, 0); });
        break;
      case Trouble::AgentPaused: t_.agent_host.pause(length); break;
      case Trouble::RelayPaused: t_.relay_host.pause(length); break;
    }
  }

  TunnelWorld& t_;
  Instant over_;
  std::uint8_t last_byte_ = 100;
};

struct Load {
  std::size_t visitors_min = 4, visitors_max = 10;
  std::uint64_t bytes_max = 4 << 20;  // of a visitor, each way
};

// Visitors come within the next half minute.
void plan_visits(TunnelWorld& t, const Load& load) {
  Prng& prng = t.world.prng();
  const std::uint64_t n =
      load.visitors_min + prng.below(load.visitors_max - load.visitors_min + 1);
  for (std::uint64_t i = 0; i < n; ++i) {
    const Duration at = between(prng, Duration{0}, prng.chance(0.7) ? 1s : 30s);
    const std::size_t host = prng.below(t.visitor_hosts.size());
    const std::uint64_t up = random_size(prng, load.bytes_max);
    const std::uint64_t down = random_size(prng, load.bytes_max);
    t.world.after(at, [&t, host, up, down] { t.visit(host, up, down); });
  }
}

void expect_whole(TunnelWorld& t, Instant all_there) {
  World& world = t.world;
  world.run_until_instant([] { return false; }, all_there);
  EXPECT_TRUE(t.run_until([&] { return t.all_whole() || t.any_failed(); }, 10min));
  EXPECT_TRUE(t.all_whole()) << t.report();
  EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 1min)) << t.report();
  EXPECT_EQ(t.relay.metric("adit_link_protocol_errors_total"), 0);
  EXPECT_EQ(t.relay.metric("adit_sessions_total"), 1);
}

void continuity(World& world, const TunnelOptions& options, const Load& load) {
  TunnelWorld t(world, options);
  Prng& prng = world.prng();
  if (prng.chance(0.7)) world.set_faults(Faults::some(prng));
  for (Host* host : t.visitor_hosts) {
    LinkModel link = random_link(prng);
    link.mtu = 1500;
    // Uploads of one host stand in one queue here; a hello behind them must not take 10 s.
    if (link.bandwidth != 0) link.bandwidth = std::max<std::uint64_t>(link.bandwidth, 16'000'000);
    world.set_link(*host, t.relay_host, link);
  }
  const LinkModel link = random_link(prng);
  world.set_link(t.relay_host, t.agent_host, {.mtu = prng.chance(0.5) ? 1500 : link.mtu});
  if (prng.chance(0.2)) t.agent.settings.carrier = service::CarrierChoice::H2;
  if (prng.chance(0.1)) t.agent.settings.carrier = service::CarrierChoice::Ws;
  ASSERT_TRUE(t.start()) << "with a good network";
  world.set_link(t.relay_host, t.agent_host, link);
  plan_visits(t, load);
  Troublemaker trouble(t);
  trouble.plan(prng);
  expect_whole(t, world.now() + 31s);
}

TEST(Continuity, SeedsDeliverEveryByteOnce) {
  for_each_seed(200, [](World& world) {
    world.set_trace_contents(false);
    continuity(world, {.relay_threads = 1 + world.prng().below(3)}, {});
  });
}

// Half an hour and more: the agent's address changes, UDP is blocked or throttled, the network is
// away for half a minute, either side stands still, and 200 visitors notice pauses only.
TEST(Continuity, TwoHundredTransfersAndFiftyEvents) {
  for_each_seed(2, [](World& world) {
    world.set_trace_contents(false);
    TunnelWorld t(world, {.relay_threads = 2});
    ASSERT_TRUE(t.start());
    world.set_link(t.relay_host, t.agent_host, {.delay = 15ms, .bandwidth = 20'000'000});
    Troublemaker trouble(t);
    trouble.plan_one_by_one(world.prng(), 50);
    const Duration all = trouble.over() - world.now();
    for (std::uint64_t i = 0; i < 200; ++i) {
      const std::size_t host = world.prng().below(t.visitor_hosts.size());
      const std::uint64_t up = random_size(world.prng(), 8 << 20);
      const std::uint64_t down = random_size(world.prng(), 8 << 20);
      world.after(between(world.prng(), Duration{0}, all),
                  [&t, host, up, down] { t.visit(host, up, down); });
    }
    expect_whole(t, trouble.over());
    EXPECT_EQ(t.visits.size(), 200u);
    EXPECT_GT(t.relay.metric("adit_sessions_resumed_total"), 5);
  });
}

TEST(Continuity, SeedsRepeatExactly) {
  for_each_seed_twice(20, [](World& world) {
    continuity(world, {.relay_threads = 2}, {.visitors_max = 6, .bytes_max = 256 << 10});
  });
}

TEST(Continuity, SeedsThroughTls) {
  for_each_seed(50, [](World& world) {
    world.set_trace_contents(false);
    continuity(world, {.passthrough = false}, {.visitors_max = 6, .bytes_max = 256 << 10});
  });
}

// The sister test: a link that is away for longer than the window ends the session on both sides,
// with a reset and not in silence; names are free, and taken again when the agent is back.
TEST(Continuity, SeedsResetAfterTheWindow) {
  for_each_seed(60, [](World& world) {
    world.set_trace_contents(false);
    TunnelWorld t(world, {.relay_threads = 1 + world.prng().below(2)});
    Prng& prng = world.prng();
    if (prng.chance(0.5)) world.set_faults(Faults::some(prng));
    LinkModel link = random_link(prng);
    link.mtu = 1500;
    ASSERT_TRUE(t.start());
    world.set_link(t.relay_host, t.agent_host, link);
    for (std::size_t i = 0; i < 4; ++i)
      t.visit(i % 2, random_size(prng, 64 << 10), random_size(prng, 64 << 10), true);
    world.run_for(between(prng, Duration{0}, 10s));
    world.cut(t.relay_host, t.agent_host);
    const auto all_ended = [&t] {
      for (std::size_t i = 0; i < 4; ++i)
        if (t.visits[i].visitor->verifier().error() == 0) return false;
      return true;
    };
    const Duration window = limits::kLinkIdleTimeout + limits::kSessionResumeWindow;
    EXPECT_TRUE(t.run_until(all_ended, window + 2s)) << t.report();
    EXPECT_TRUE(t.run_until([&t] { return t.service.open() == 0; }, 20s)) << t.report();
    EXPECT_TRUE(t.relay.agents().empty());
    const std::size_t early = t.visit(0, 10, 10);
    EXPECT_TRUE(t.run_until([&] { return t.ended(early); }, 5s)) << t.report();

    world.run_for(between(prng, Duration{0}, 5min));
    world.heal(t.relay_host, t.agent_host);
    EXPECT_TRUE(t.run_until([&] { return t.agent.live(); },
                            limits::kReconnectDelayMax + limits::kLinkHandshakeDeadline));
    const std::size_t late = t.visit(1, 20'000, 20'000);
    EXPECT_TRUE(t.run_until([&] { return t.whole(late); }, 1min)) << t.report();
    EXPECT_TRUE(t.run_until([&t] { return t.empty(); }, 1min)) << t.report();
    EXPECT_EQ(t.relay.metric("adit_sessions_total"), 2);
  });
}

}  // namespace
}  // namespace adit::sim
