// Relay and agent as one system on a simulated network: registration, refusals, restarts, several
// relays.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "sim/scenario.h"
#include "sim/tunnel_world.h"

namespace adit::sim {
namespace {

constexpr std::string_view kRelay = "relay.example.com:443";
const IpAddress kSecondAgentIp = IpAddress::v4(198, 51, 100, 8);
const IpAddress kSecondRelayIp = IpAddress::v4(192, 0, 2, 2);

AgentProcess::Seen& seen(TunnelWorld& t) { return t.agent.seen[std::string(kRelay)]; }

void expect_visits_work(TunnelWorld& t) {
  const std::size_t one = t.visit(0, 1000, 70'000), two = t.visit(1, 300'000, 0);
  EXPECT_TRUE(t.run_until([&] { return t.whole(one) && t.whole(two); }, 20s)) << t.report();
}

TEST(Tunnel, CarriesVisitors) {
  World world(1);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  EXPECT_EQ(seen(t).urls, std::vector<std::string>{"https://" + t.agent.own_name()});
  expect_visits_work(t);
  EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 10s)) << t.report();
}

TEST(Tunnel, CarriesVisitorsThroughTls) {
  World world(1);
  TunnelWorld t(world, {.passthrough = false});
  ASSERT_TRUE(t.start());
  expect_visits_work(t);
  EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 10s)) << t.report();
}

TEST(Tunnel, AgentSaysGoodbye) {
  World world(1);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  t.agent.stop(10s);
  EXPECT_TRUE(t.run_until([&] { return !t.agent.running(); }, 2s));
  world.run_for(1s);
  EXPECT_TRUE(t.relay.agents().empty());  // no waiting for one that will not come back
  const std::size_t late = t.visit(0, 10, 10);
  EXPECT_TRUE(t.run_until([&] { return t.ended(late); }, 2s));
  EXPECT_EQ(t.relay.metric("adit_visitors_refused_total", "reason=\"unknown_name\""), 1);
}

// --- restarts ---

TEST(Tunnel, AgentComesBackAfterRelayRestart) {
  for (const Duration away : {100ms, 3000ms, 20'000ms}) {
    World world(1);
    TunnelWorld t(world);
    ASSERT_TRUE(t.start());
    const std::size_t open = t.visit(0, 10, 10, true);
    world.run_for(1s);
    t.relay.kill();
    EXPECT_TRUE(t.run_until([&] { return t.ended(open); }, 1s));
    world.run_for(away);
    t.relay.start();
    EXPECT_TRUE(t.run_until([&] { return seen(t).online == 2; }, 15s)) << away / 1ms;
    expect_visits_work(t);
    EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 40s)) << t.report();
  }
}

TEST(Tunnel, AgentComesBackAfterAnHour) {
  World world(2);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  t.relay.kill();
  world.run_for(1h);
  EXPECT_LT(seen(t).unreachable, 100u);  // polite
  t.relay.start();
  EXPECT_TRUE(t.run_until([&] { return t.agent.live(); },
                          limits::kReconnectDelayMax + limits::kLinkHandshakeDeadline));
  expect_visits_work(t);
}

TEST(Tunnel, AgentFindsARelayThatMoved) {
  World world(3);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  t.relay.kill();
  Host& elsewhere = world.add_host("elsewhere", {kSecondRelayIp});
  RelayProcess moved(elsewhere, t.names, 1, 0);
  moved.start();
  t.names.set("relay.example.com", {kSecondRelayIp});
  EXPECT_TRUE(t.run_until([&] { return seen(t).online == 2; }, 60s));
  EXPECT_EQ(moved.agents().size(), 1u);
}

TEST(Tunnel, RelayDrains) {
  World world(4);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  world.set_link(t.relay_host, t.agent_host, {.delay = 20ms, .bandwidth = 2'000'000});
  const std::size_t visitor = t.visit(0, 500'000, 500'000);
  world.run_for(500ms);
  t.relay.drain(30s);
  EXPECT_TRUE(t.run_until([&] { return !t.relay.running(); }, 30s));
  EXPECT_TRUE(t.run_until([&] { return t.whole(visitor); }, 1s)) << t.report();
  EXPECT_TRUE(t.run_until([&] { return seen(t).offline == 1; }, 1s));
  t.relay.start();
  EXPECT_TRUE(t.run_until([&] { return seen(t).online == 2; }, 15s));
  EXPECT_EQ(seen(t).resumed, 0u);
  expect_visits_work(t);
}

// The visitor, or the service, is through and gone; what it said is still on its way to the other
// side of the tunnel when one of them is told to stop.
TEST(Tunnel, DrainingLosesNothingThatWasTaken) {
  for (const bool relay_stops : {false, true}) {
    for (const bool upload : {false, true}) {
      World world(23);
      TunnelWorld t(world);
      ASSERT_TRUE(t.start());
      world.set_link(t.relay_host, t.agent_host, {.delay = 20ms, .bandwidth = 2'000'000});
      const std::size_t visit = upload ? t.visit(0, 1'000'000, 0) : t.visit(0, 0, 1'000'000);
      world.run_for(500ms);
      if (relay_stops) {
        t.relay.drain(30s);
      } else {
        t.agent.stop(30s);
      }
      EXPECT_TRUE(t.run_until([&] { return t.whole(visit); }, 10s))
          << relay_stops << upload << " " << t.report();
      EXPECT_TRUE(t.run_until(
          [&] { return relay_stops ? !t.relay.running() : !t.agent.running(); }, 2s));
    }
  }
}

TEST(Tunnel, DrainEndsAtItsDeadline) {
  World world(4);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  const std::size_t visitor = t.visit(0, 10, 10, true);
  world.run_for(1s);
  t.relay.drain(5s);
  world.run_for(4900ms);
  EXPECT_TRUE(t.relay.running());
  EXPECT_FALSE(t.ended(visitor));
  EXPECT_TRUE(t.run_until([&] { return !t.relay.running() && t.ended(visitor); }, 500ms));
}

// Paused downloads fill their own windows, and a fair part of what the session retains, and nothing
// else: the link goes on for everybody.
TEST(Tunnel, VisitorsThatDoNotReadStopNobodyElse) {
  World world(21);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  constexpr std::size_t kStalled = 200;
  std::size_t first = 0;
  for (std::size_t i = 0; i < kStalled; ++i) {
    const std::size_t visit = t.visit(i % 2, 0, 16'000'000, true, 24h);
    if (i == 0) first = visit;
  }
  world.run_for(1min);
  EXPECT_GE(t.agent.retained(), limits::kSessionRetainBytesMax / 2);  // they are stuck indeed
  EXPECT_LE(t.agent.retained(), limits::kSessionRetainBytesMax);
  const std::size_t one = t.visit(0, 10'000, 1'000'000), two = t.visit(1, 1'000'000, 10'000);
  EXPECT_TRUE(t.run_until([&] { return t.whole(one) && t.whole(two); }, 30s)) << t.report();
  for (std::size_t i = 0; i < kStalled; ++i) t.visits[first + i].visitor->abort();
  EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 10s)) << t.report();
}

// After some seconds without a network its return is noticed within a second, by whichever side has
// something to send.
TEST(Tunnel, GoesOnSoonAfterABlackout) {
  for (const bool upload : {false, true}) {
    for (const Duration away : {2s, 5s, 8s, 10s}) {
      World world(22);
      TunnelWorld t(world);
      ASSERT_TRUE(t.start());
      world.set_link(t.relay_host, t.agent_host, {.delay = 20ms, .bandwidth = 4'000'000});
      const std::size_t visit = upload ? t.visit(0, 60'000'000, 0) : t.visit(0, 0, 60'000'000);
      world.run_for(2s);
      world.cut(t.relay_host, t.agent_host);
      world.run_for(away);
      world.heal(t.relay_host, t.agent_host);
      const auto moved = [&] {
        return upload ? t.service.of(t.visits[visit].plan.number).received
                      : t.visits[visit].visitor->verifier().received();
      };
      const std::uint64_t before = moved();
      EXPECT_TRUE(t.run_until([&] { return moved() > before + 200'000; }, 1500ms))
          << upload << " " << away / 1s;
      EXPECT_EQ(seen(t).offline, 0u);
    }
  }
}

// A route through a tunnel: packets of the size that discovery had found vanish from now on.
TEST(Tunnel, PathThatBeginsToSwallowLargePackets) {
  World world(18);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  const std::size_t before = t.visit(0, 1'000'000, 1'000'000);
  ASSERT_TRUE(t.run_until([&] { return t.whole(before); }, 10s)) << t.report();
  world.set_link(t.relay_host, t.agent_host, {.delay = 10ms, .mtu = 1300});
  const std::size_t after = t.visit(0, 1'000'000, 1'000'000);
  EXPECT_TRUE(t.run_until([&] { return t.whole(after); }, 15s)) << t.report();
  EXPECT_EQ(seen(t).offline, 0u);
}

TEST(Tunnel, SilentNetworkIsNotedByBothSides) {
  World world(19);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  world.run_for(1h);  // nothing but keep-alive
  EXPECT_EQ(seen(t).offline, 0u);
  EXPECT_EQ(t.relay.metric("adit_links_total"), 1);
  world.cut(t.relay_host, t.agent_host);
  EXPECT_TRUE(t.run_until([&] { return seen(t).offline == 1; },
                          limits::kLinkKeepAlive + limits::kLinkIdleTimeout + 1s));
  world.heal(t.relay_host, t.agent_host);
  EXPECT_TRUE(t.run_until([&] { return seen(t).resumed == 1; }, limits::kLinkHandshakeDeadline));
  expect_visits_work(t);
}

// The agent moves to a fresh socket before it gives the link up, and the visitors notice nothing.
TEST(Tunnel, ForgottenNatMappingCostsNoLink) {
  World world(20);
  TunnelWorld t(world);
  world.rebind_nat(t.agent_host);
  ASSERT_TRUE(t.start());
  const std::size_t open = t.visit(0, 10, 10, true);
  for (int i = 0; i < 5; ++i) {
    world.run_for(20s);
    world.rebind_nat(t.agent_host, IpAddress::v4(198, 51, 100, static_cast<std::uint8_t>(50 + i)));
  }
  world.run_for(20s);
  EXPECT_EQ(seen(t).offline, 0u);
  EXPECT_EQ(t.relay.metric("adit_link_migrations_total"), 5);
  EXPECT_FALSE(t.ended(open));
  expect_visits_work(t);
}

// --- carriers ---

std::string carrier_of(const TunnelWorld& t) {
  const auto agents = t.relay.agents();
  return agents.empty() ? "" : agents.front().carrier;
}

TEST(Tunnel, CarriesVisitorsOverH2) {
  for (const bool passthrough : {true, false}) {
    World world(30);
    TunnelWorld t(world, {.passthrough = passthrough});
    t.agent.settings.carrier = service::CarrierChoice::H2;
    ASSERT_TRUE(t.start());
    EXPECT_EQ(carrier_of(t), "h2");
    expect_visits_work(t);
    for (int i = 0; i < 300; ++i) t.visit(static_cast<std::size_t>(i % 2), 5000, 100);
    EXPECT_TRUE(t.run_until([&] { return t.all_whole(); }, 60s)) << t.report();
    EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 10s)) << t.report();
    world.run_for(1h);
    EXPECT_EQ(seen(t).offline, 0u);
  }
}

TEST(Tunnel, H2LinkThatDiesSilentlyIsReplaced) {
  World world(31);
  TunnelWorld t(world);
  t.agent.settings.carrier = service::CarrierChoice::H2;
  ASSERT_TRUE(t.start());
  const std::size_t open = t.visit(0, 10, 10, true);
  world.run_for(1s);
  world.cut(t.relay_host, t.agent_host);
  EXPECT_TRUE(t.run_until([&] { return seen(t).offline == 1; }, 10s));
  world.run_for(5s);
  world.heal(t.relay_host, t.agent_host);
  EXPECT_TRUE(t.run_until([&] { return seen(t).resumed == 1; }, limits::kLinkHandshakeDeadline));
  EXPECT_FALSE(t.ended(open));
  expect_visits_work(t);
}

TEST(Tunnel, WithoutUdpItServesWithinThreeSeconds) {
  World world(32);
  TunnelWorld t(world);
  world.block_udp(t.relay_host, t.agent_host);
  ASSERT_TRUE(t.start(3s));
  EXPECT_EQ(carrier_of(t), "h2");
  expect_visits_work(t);
}

TEST(Tunnel, TakesQuicWithinAMinuteOfItsRecoveryAndNobodyNotices) {
  World world(33);
  TunnelWorld t(world);
  world.block_udp(t.relay_host, t.agent_host);
  ASSERT_TRUE(t.start());
  world.set_link(t.relay_host, t.agent_host, {.delay = 20ms, .bandwidth = 4'000'000});
  const std::size_t up = t.visit(0, 40'000'000, 0), down = t.visit(1, 0, 40'000'000);
  const std::size_t held = t.visit(0, 10, 10, true);
  world.run_for(5s);
  world.block_udp(t.relay_host, t.agent_host, false);
  EXPECT_TRUE(t.run_until([&] { return carrier_of(t) == "quic"; }, 60s));
  EXPECT_EQ(seen(t).offline, 0u);
  EXPECT_TRUE(t.run_until([&] { return seen(t).resumed == 1; }, 1s));
  EXPECT_TRUE(t.run_until([&] { return t.whole(up) && t.whole(down); }, 5min)) << t.report();
  EXPECT_FALSE(t.ended(held));
  EXPECT_EQ(t.relay.metric("adit_sessions_total"), 1);
  EXPECT_EQ(t.relay.links(), 1u);
}

TEST(Tunnel, LeavesQuicWhenUdpIsBlockedAmidATransfer) {
  for (const bool upload : {false, true}) {
    World world(34);
    TunnelWorld t(world);
    ASSERT_TRUE(t.start());
    EXPECT_EQ(carrier_of(t), "quic");
    world.set_link(t.relay_host, t.agent_host, {.delay = 20ms, .bandwidth = 8'000'000});
    const std::size_t visit = upload ? t.visit(0, 20'000'000, 0) : t.visit(0, 0, 20'000'000);
    world.run_for(3s);
    world.block_udp(t.relay_host, t.agent_host);
    EXPECT_TRUE(t.run_until([&] { return carrier_of(t) == "h2"; }, 5s)) << upload;
    EXPECT_TRUE(t.run_until([&] { return t.whole(visit); }, 5min)) << t.report();
    EXPECT_EQ(t.relay.metric("adit_sessions_total"), 1);
  }
}

// UDP is let through, and little of it: HTTP/2 takes over within five seconds of load, QUIC within
// a minute of its recovery, and nobody notices.
TEST(Tunnel, LeavesQuicWhereItBringsLittle) {
  for (const bool upload : {false, true}) {
    World world(36);
    TunnelWorld t(world);
    LinkModel model{.delay = 20ms, .bandwidth = 20'000'000};
    world.set_link(t.relay_host, t.agent_host, model);
    ASSERT_TRUE(t.start());
    EXPECT_EQ(carrier_of(t), "quic");
    const std::uint64_t bytes = 200'000'000;
    const std::size_t visit = upload ? t.visit(0, bytes, 0) : t.visit(0, 0, bytes);
    const std::size_t held = t.visit(1, 10, 10, true);
    world.run_for(5s);
    EXPECT_EQ(carrier_of(t), "quic") << "where all is well";
    model.udp_police = 1'000'000;
    world.set_link(t.relay_host, t.agent_host, model);
    EXPECT_TRUE(t.run_until([&] { return carrier_of(t) == "h2"; }, 5s)) << upload;
    world.run_for(10s);
    EXPECT_EQ(carrier_of(t), "h2") << upload;
    model.udp_police = 0;
    world.set_link(t.relay_host, t.agent_host, model);
    EXPECT_TRUE(t.run_until([&] { return carrier_of(t) == "quic"; }, 60s)) << upload;
    EXPECT_TRUE(t.run_until([&] { return t.whole(visit); }, 5min)) << t.report();
    EXPECT_EQ(carrier_of(t), "quic") << upload;
    EXPECT_FALSE(t.ended(held));
    EXPECT_EQ(t.relay.metric("adit_sessions_total"), 1);
    EXPECT_EQ(seen(t).offline, 0u);
  }
}

// A line that is slow for every carrier: after one trial QUIC is kept, and the next trial waits.
TEST(Tunnel, StaysWithQuicWhereAllIsSlow) {
  World world(37);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  world.set_link(t.relay_host, t.agent_host, {.delay = 20ms, .bandwidth = 1'000'000});
  const std::size_t visit = t.visit(0, 0, 12'000'000);
  world.run_for(20s);
  EXPECT_EQ(carrier_of(t), "quic");
  EXPECT_GE(t.agent.log().count("agent.carrier_trial"), 1u);
  const std::size_t trials = t.agent.log().count("agent.carrier_trial");
  world.run_for(30s);
  EXPECT_EQ(t.agent.log().count("agent.carrier_trial"), trials);
  EXPECT_TRUE(t.run_until([&] { return t.whole(visit); }, 10min)) << t.report();
}

// The other carrier has proven itself and taken the session, and dies before WELCOME: the session
// goes on over a third link, and is not given up with the first.
TEST(Tunnel, MoveThatFailsHalfwayLosesNoSession) {
  for (Duration blocked_after = 0ms; blocked_after < 400ms; blocked_after += 10ms) {
    World world(35);
    TunnelWorld t(world);
    world.block_udp(t.relay_host, t.agent_host);
    ASSERT_TRUE(t.start());
    world.set_link(t.relay_host, t.agent_host, {.delay = 50ms});
    const std::size_t open = t.visit(0, 10, 10, true);
    world.run_for(5s);
    world.block_udp(t.relay_host, t.agent_host, false);
    // QUIC's first packets reach the relay; then no others do.
    const std::int64_t links = t.relay.metric("adit_links_total");
    ASSERT_TRUE(t.run_until([&] { return t.relay.metric("adit_links_total") > links; }, 60s));
    world.run_for(blocked_after);
    world.block_udp(t.relay_host, t.agent_host);
    world.run_for(30s);
    EXPECT_FALSE(t.ended(open)) << blocked_after / 1ms;
    EXPECT_EQ(t.relay.metric("adit_sessions_total"), 1) << blocked_after / 1ms;
    expect_visits_work(t);
  }
}

TEST(Tunnel, ResumesOverH2OnTheThreadOfTheSession) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(seed);
    TunnelWorld t(world, {.relay_threads = 4});
    t.agent.settings.carrier = service::CarrierChoice::H2;
    ASSERT_TRUE(t.start());
    const std::size_t open = t.visit(0, 10, 10, true);
    world.run_for(1s);
    world.cut(t.relay_host, t.agent_host);
    world.run_for(12s);
    world.heal(t.relay_host, t.agent_host);
    EXPECT_TRUE(t.run_until([&] { return seen(t).resumed == 1; }, 10s)) << seed;
    EXPECT_EQ(t.relay.metric("adit_sessions_total"), 1);
    EXPECT_FALSE(t.ended(open));
  }
}

// --- who has the names ---

struct SecondAgent {
  explicit SecondAgent(TunnelWorld& t, std::size_t key = 0)
      : host(t.world.add_host("agent2", {kSecondAgentIp})), process(host, t.names, key) {
    process.settings.relays = t.agent.settings.relays;
    process.settings.services = t.agent.settings.services;
  }
  Host& host;
  AgentProcess process;
};

TEST(Tunnel, SameKeyTakesTheNamesOver) {
  World world(5);
  TunnelWorld t(world);
  SecondAgent second(t);
  TunnelService there(second.host.loop(), {IpAddress::loopback4(), 3000},
                      client_hello(t.agent.own_name()));
  ASSERT_TRUE(t.start());
  const std::size_t open = t.visit(0, 10, 10, true);
  world.run_for(1s);
  second.process.start();
  EXPECT_TRUE(t.run_until([&] { return second.process.live(); }, 1s));
  EXPECT_TRUE(t.run_until([&] { return seen(t).offline == 1 && t.ended(open); }, 1s));
  EXPECT_EQ(t.relay.agents().size(), 1u);
  EXPECT_GE(seen(t).next_try, limits::kReconnectDelayMax);  // no fight
  const std::size_t late = t.visit(0, 100, 100);
  EXPECT_TRUE(t.run_until([&] { return there.of(late).whole(); }, 5s));
  EXPECT_TRUE(t.visits[late].visitor->finished(100));
}

// Two machines with one key: the one started last has the names for good, and the other takes them
// back when they are free.
TEST(Tunnel, SupersededAgentGivesWayUntilTheOtherIsGone) {
  World world(5);
  TunnelWorld t(world);
  SecondAgent second(t);
  ASSERT_TRUE(t.start());
  second.process.start();
  ASSERT_TRUE(t.run_until([&] { return second.process.live(); }, 1s));
  world.run_for(10min);
  EXPECT_TRUE(second.process.live());
  EXPECT_EQ(second.process.seen[std::string(kRelay)].offline, 0u);
  EXPECT_EQ(seen(t).online, 1u);
  EXPECT_GE(seen(t).refused.size(), 8u);
  EXPECT_EQ(seen(t).refused.back(), "superseded");

  second.process.kill();
  EXPECT_TRUE(t.run_until([&] { return t.agent.live(); },
                          limits::kLinkIdleTimeout + limits::kSessionResumeWindow +
                              limits::kReconnectDelayMax + 1s));
  expect_visits_work(t);
}

TEST(Tunnel, AgentThatLostItsMemoryTakesItsNamesBack) {
  World world(6);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  // The relay believes in the old link for some 15 s, and in the session for longer.
  t.agent.kill();
  world.run_for(100ms);
  t.agent.start();
  EXPECT_TRUE(t.run_until([&] { return t.agent.live(); }, 1s));
  expect_visits_work(t);
  EXPECT_EQ(t.relay.metric("adit_sessions_superseded_total"), 1);
}

TEST(Tunnel, UnknownKeyIsRefusedAndTriesSlowly) {
  World world(7);
  TunnelWorld t(world);
  const std::vector<route::AgentGrant> grants = std::exchange(t.relay.settings.agents, {});
  EXPECT_FALSE(t.start(10min));
  ASSERT_FALSE(seen(t).refused.empty());
  EXPECT_EQ(seen(t).refused.front(), "unknown_key");
  EXPECT_GE(seen(t).refused.size(), 8u);
  EXPECT_LE(seen(t).refused.size(), 22u);
  EXPECT_EQ(t.relay.metric("adit_links_refused_total", "code=\"unknown_key\""),
            static_cast<std::int64_t>(seen(t).refused.size()));
  EXPECT_EQ(t.relay.links(), 0u);

  t.relay.settings.agents = grants;
  t.relay.reload();
  EXPECT_TRUE(t.run_until([&] { return t.agent.live(); }, 61s));
}

TEST(Tunnel, KeyThatIsTakenAwayLosesItsVisitors) {
  World world(8);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  const std::size_t open = t.visit(0, 10, 10, true);
  world.run_for(1s);
  t.relay.settings.agents.clear();
  t.relay.reload();
  EXPECT_TRUE(t.run_until([&] { return t.ended(open) && t.relay.agents().empty(); }, 1s));
  world.run_for(5min);
  EXPECT_FALSE(t.agent.live());
  // From 5 s, so that `adit allow` is soon noticed, doubling to a minute.
  EXPECT_LE(seen(t).refused.size(), 15u);
}

TEST(Tunnel, WrongRelayKeyIsNotSpokenTo) {
  World world(9);
  TunnelWorld t(world);
  t.agent.settings.relays.front().pin = TunnelKeys::get().relays[1].pin;
  EXPECT_FALSE(t.start(5min));
  EXPECT_GE(t.agent.log().count("agent.relay_not_trusted"), 3u);
  EXPECT_LE(t.agent.log().count("agent.relay_not_trusted"), 60u);  // of all carriers
  EXPECT_TRUE(seen(t).refused.empty());
  EXPECT_GE(t.relay.metric("adit_links_total"), 3);
  EXPECT_EQ(t.relay.metric("adit_sessions_total"), 0);
  EXPECT_EQ(t.relay.log().count("tunnel.agent_refused"), 0u);
}

TEST(Tunnel, OneRelaysTroubleIsNotTheOthers) {
  World world(10);
  TunnelWorld t(world);
  Host& refusing_host = world.add_host("refusing", {kSecondRelayIp});
  RelayProcess refusing(refusing_host, t.names, 1, 1);
  refusing.settings.agents.clear();
  refusing.start();
  t.names.set("refusing.example.com", {kSecondRelayIp});
  t.names.set("silent.example.com", {IpAddress::v4(192, 0, 2, 99)});
  auto& relays = t.agent.settings.relays;
  const service::RelayTarget good = relays.front();
  relays.clear();
  for (const char* name : {"refusing.example.com", "silent.example.com", "nowhere.example.com"})
    relays.push_back({HostPort{name, 443}, name, refusing.pin()});
  relays.push_back(good);
  t.relay.start();
  t.agent.start();
  ASSERT_TRUE(t.run_until([&] { return t.agent.live(3); }, 1s));
  expect_visits_work(t);
  world.run_for(5min);
  expect_visits_work(t);
  EXPECT_EQ(seen(t).offline, 0u);
  EXPECT_FALSE(t.agent.seen["refusing.example.com:443"].refused.empty());
  EXPECT_GE(t.agent.seen["silent.example.com:443"].unreachable, 3u);
  EXPECT_GE(t.agent.seen["nowhere.example.com:443"].unreachable, 3u);
}

TEST(Tunnel, SecondAddressOfARelayIsTried) {
  World world(11);
  TunnelWorld t(world);
  t.names.set("relay.example.com", {IpAddress::v4(192, 0, 2, 99), t.relay_host.address()});
  EXPECT_TRUE(t.start(limits::kLinkHandshakeDeadline + 1s));
}

// --- services and limits ---

TEST(Tunnel, SeveralServices) {
  World world(12);
  TunnelWorld t(world);
  t.relay.settings.agents.front().names = {"api"};
  const std::string api = "api." + std::string(kRelayDomain);
  TunnelService second(t.agent_host.loop(), {IpAddress::loopback4(), 3001}, client_hello(api));
  service::LocalServiceSettings more = t.agent.settings.services.front();
  more.number = ServiceNumber{2};
  more.names = {"api"};
  more.to.port = 3001;
  t.agent.settings.services.push_back(more);
  ASSERT_TRUE(t.start());
  EXPECT_EQ(seen(t).urls.size(), 2u);
  expect_visits_work(t);
  const std::size_t visitor = t.visit_name(0, api, 5000, 5000);
  EXPECT_TRUE(t.run_until([&] { return second.of(visitor).whole(); }, 5s));
  EXPECT_TRUE(t.visits[visitor].visitor->finished(5000));
}

TEST(Tunnel, NameThatIsNotGranted) {
  World world(13);
  TunnelWorld t(world);
  t.agent.settings.services.front().names = {"somebody-elses"};
  EXPECT_FALSE(t.start(5s));
  EXPECT_EQ(seen(t).refused, std::vector<std::string>{"name_not_granted"});
}

TEST(Tunnel, StreamLimit) {
  World world(14);
  TunnelWorld t(world);
  t.relay.settings.agents.front().streams_max = 2;
  ASSERT_TRUE(t.start());
  const std::size_t one = t.visit(0, 10, 10, true), two = t.visit(1, 10, 10, true);
  world.run_for(1s);
  const std::size_t three = t.visit(0, 10, 10);
  EXPECT_TRUE(t.run_until([&] { return t.ended(three); }, 2s));
  EXPECT_EQ(t.relay.metric("adit_visitors_refused_total", "reason=\"stream_limit\""), 1);
  EXPECT_FALSE(t.ended(one) || t.ended(two));
  t.visits[one].visitor->abort();
  world.run_for(1s);
  const std::size_t four = t.visit(0, 10, 10);
  EXPECT_TRUE(t.run_until([&] { return t.whole(four); }, 2s)) << t.report();
}

// rate= of a key: both directions, all streams together, and nobody else's.
TEST(Tunnel, RateOfAKeyHolds) {
  for (const service::CarrierChoice carrier :
       {service::CarrierChoice::Quic, service::CarrierChoice::H2}) {
    World world(25);
    TunnelWorld t(world);
    t.agent.settings.carrier = carrier;
    t.relay.settings.agents.front().rate = 200'000;
    ASSERT_TRUE(t.start());
    const Instant began = world.now();
    std::vector<std::size_t> visits;
    for (std::size_t i = 0; i < 4; ++i) visits.push_back(t.visit(i % 2, 250'000, 250'000));
    EXPECT_TRUE(t.run_until([&] { return t.all_whole(); }, 20s)) << t.report();
    const Duration took = world.now() - began;  // 1 MB each way
    EXPECT_GE(took, 4500ms);
    EXPECT_LE(took, 6500ms);
    // A small exchange beside bulk waits its turn, not for the end of the bulk.
    const std::size_t bulk = t.visit(0, 0, 3'000'000);
    world.run_for(1s);
    const std::size_t brief = t.visit(1, 100, 100);
    EXPECT_TRUE(t.run_until([&] { return t.whole(brief); }, 1500ms));
    // The file changes: from now on there is no limit.
    t.relay.settings.agents.front().rate.reset();
    t.relay.reload();
    EXPECT_TRUE(t.run_until([&] { return t.whole(bulk); }, 3s)) << t.report();
  }
}

// from= and not= of a key.
TEST(Tunnel, VisitorsFromElsewhereAreTurnedAway) {
  World world(26);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  const IpAddress one = t.visitor_hosts[0]->address(), two = t.visitor_hosts[1]->address();
  route::AgentGrant& grant = t.relay.settings.agents.front();
  const auto expect = [&](bool first, bool second) {
    t.relay.reload();
    world.run_for(100ms);
    const std::int64_t before =
        t.relay.metric("adit_visitors_refused_total", "reason=\"visitor_denied\"");
    const std::size_t a = t.visit(0, 10, 10), b = t.visit(1, 10, 10);
    EXPECT_TRUE(t.run_until([&] { return t.ended(a) && t.ended(b); }, 5s)) << t.report();
    world.run_for(1s);  // the service learns of the end a little later
    EXPECT_EQ(t.whole(a), first);
    EXPECT_EQ(t.whole(b), second);
    EXPECT_EQ(t.relay.metric("adit_visitors_refused_total", "reason=\"visitor_denied\"") - before,
              (first ? 0 : 1) + (second ? 0 : 1));
  };
  expect(true, true);
  grant.from = {{one, 128}};
  expect(true, false);
  grant.from = {{one, 128}, {two, 128}};
  grant.not_from = {{one, 128}};
  expect(false, true);
  grant.from.clear();
  expect(false, true);
}

TEST(Tunnel, ManyVisitorsAtOnce) {
  World world(15);
  TunnelWorld t(world);
  ASSERT_TRUE(t.start());
  for (int i = 0; i < 1000; ++i) t.visit(static_cast<std::size_t>(i % 2), 100, 100);
  EXPECT_TRUE(t.run_until([&] { return t.all_whole(); }, 30s));
  EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 10s)) << t.relay.streams();
}

TEST(Tunnel, LocalServiceIsAway) {
  World world(16);
  TunnelWorld t(world);
  t.agent.settings.services.front().to.port = 3999;
  ASSERT_TRUE(t.start());
  const std::size_t visitor = t.visit(0, 10, 10);
  EXPECT_TRUE(t.run_until([&] { return t.ended(visitor); }, 2s));
  EXPECT_EQ(t.visits[visitor].visitor->verifier().error(), 0);  // an alert, and the end
  EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 10s)) << t.report();
}

// --- threads ---

TEST(Tunnel, VisitorsAreHandedToTheThreadWithTheLink) {
  World world(17);
  TunnelWorld t(world, {.relay_threads = 2, .visitor_hosts = 8});
  ASSERT_TRUE(t.start());
  for (std::size_t i = 0; i < 32; ++i) t.visit(i % 8, 1000, 1000);
  EXPECT_TRUE(t.run_until([&] { return t.all_whole(); }, 10s)) << t.report();
  const std::int64_t over = t.relay.metric("adit_visitors_handed_over_total");
  EXPECT_GT(over, 3);
  EXPECT_LT(over, 29);
  EXPECT_TRUE(t.run_until([&] { return t.empty(); }, 10s)) << t.report();
}

TEST(Tunnel, ResumeReachesTheThreadOfTheSession) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(seed);
    TunnelWorld t(world, {.relay_threads = 4});
    ASSERT_TRUE(t.start());
    const std::size_t open = t.visit(0, 10, 10, true);
    world.run_for(1s);
    world.cut(t.relay_host, t.agent_host);
    world.run_for(21s);  // both have given the link up
    world.heal(t.relay_host, t.agent_host);
    EXPECT_TRUE(t.run_until([&] { return seen(t).resumed == 1; }, 10s)) << seed;
    EXPECT_EQ(t.relay.metric("adit_sessions_total"), 1);
    EXPECT_FALSE(t.ended(open));
  }
}

}  // namespace
}  // namespace adit::sim
