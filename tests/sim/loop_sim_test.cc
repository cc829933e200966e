// The simulated loop: the conformance suite of all loops, and what only a simulation promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "io/loop_conformance_cancel.h"
#include "io/loop_conformance_core.h"
#include "io/loop_conformance_tcp.h"
#include "io/loop_conformance_udp.h"
#include "sim/peers.h"
#include "sim/scenario.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_resolver.h"
#include "sim/sim_tcp.h"
#include "sim/sim_world.h"

namespace adit::io {
namespace {

class SimHarness : public LoopHarness {
 public:
  explicit SimHarness(std::uint64_t seed, bool faults) : world_(seed) {
    world_.add_host("host", {IpAddress::v4(192, 0, 2, 1), *IpAddress::parse("2001:db8::1")});
    if (!faults) return;
    // Those that every caller has to live with on a kernel in good health, too.
    sim::Faults some = sim::Faults::some(world_.prng());
    some.short_send = some.spurious_wakeup = 0;
    world_.set_faults(some);
  }
  Loop& loop() override { return world_.host(0).loop(); }

 private:
  sim::World world_;
};

LoopCase sim_case(std::uint64_t seed, bool faults) {
  return {faults ? "faults" + std::to_string(seed) : "plain",
          [=] { return std::make_unique<SimHarness>(seed, faults); }};
}

INSTANTIATE_TEST_SUITE_P(Sim, LoopConformance,
                         testing::Values(sim_case(1, false), sim_case(2, true), sim_case(3, true),
                                         sim_case(4, true)),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace adit::io

namespace adit::sim {
namespace {

const IpAddress kHostIp = IpAddress::v4(192, 0, 2, 1);
const IpAddress kOtherIp = IpAddress::v4(192, 0, 2, 2);

// Fires again and again.
class Ticker {
 public:
  Ticker(io::Loop& loop, Duration period)
      : loop_(loop), period_(period), timer_(loop, Delegate<void()>::to<&Ticker::on_timer>(this)) {
    on_timer();
  }
  int ticks = -1;

 private:
  void on_timer() {
    ++ticks;
    timer_.set(loop_.now() + period_);
  }
  io::Loop& loop_;
  Duration period_;
  io::Timer timer_;
};

class Memo : public io::Message {
 public:
  explicit Memo(std::vector<int>& list, int n) : list_(list), n_(n) {}
  void run() override { list_.push_back(n_); }

 private:
  std::vector<int>& list_;
  int n_;
};

TEST(SimWorld, AnHourPassesInAMoment) {
  World world(1);
  Ticker ticker(world.add_host("host", {kHostIp}).loop(), 1s);
  const WallTime start = world.wall_time();
  world.run_for(1h);
  EXPECT_EQ(ticker.ticks, 3600);
  EXPECT_EQ(world.wall_time().seconds() - start.seconds(), 3600);
}

TEST(SimWorld, LimitAndLivelock) {
  World world(1);
  Ticker ticker(world.add_host("host", {kHostIp}).loop(), 1ms);
  const Instant start = world.now();
  EXPECT_FALSE(world.run_until([] { return false; }, 10s));
  EXPECT_EQ(world.now() - start, 10s);
  world.set_steps_max(world.steps() + 100);
  testing::internal::CaptureStderr();
  EXPECT_FALSE(world.run_until([] { return false; }, 10s));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("livelock"), std::string::npos);
  EXPECT_LT(world.now() - start, 11s);
}

TEST(SimWorld, PausedHostCatchesUp) {
  World world(1);
  Host& host = world.add_host("host", {kHostIp});
  Ticker ticker(host.loop(), 100ms);
  world.run_for(1s);
  EXPECT_EQ(ticker.ticks, 10);
  host.pause(5s);
  world.run_for(4s);
  EXPECT_EQ(ticker.ticks, 10);
  EXPECT_EQ(host.loop().now().ns + Duration(4s).count(), world.now().ns);
  world.run_for(2s);
  EXPECT_EQ(ticker.ticks, 21);  // once at the resumption, then as before
}

TEST(SimWorld, MessagesBetweenLoops) {
  World world(1);
  Host& host = world.add_host("host", {kHostIp});
  SimLoop& second = host.add_loop();
  std::vector<int> seen;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(second.post(std::make_unique<Memo>(seen, i)));
  EXPECT_TRUE(seen.empty());
  world.run_for(1ms);
  EXPECT_EQ(seen, (std::vector{0, 1, 2}));
  for (std::size_t i = 0; i < limits::kMailboxMessagesMax; ++i)
    ASSERT_TRUE(host.loop().post(std::make_unique<Memo>(seen, 9)));
  EXPECT_FALSE(host.loop().post(std::make_unique<Memo>(seen, 9)));
}

// An accepted descriptor goes to another thread of the host.
TEST(SimWorld, DescriptorsMoveBetweenLoops) {
  World world(1);
  Host& host = world.add_host("host", {kHostIp});
  SimLoop& second = host.add_loop();
  EchoServer echo(host.loop(), {kHostIp, 80});
  auto socket = second.open_tcp({kHostIp, 80});
  ASSERT_TRUE(socket);
  const int raw = socket->release();
  io::Socket moved = host.loop().adopt(raw);
  io::Recorder connected;
  host.loop().connect(connected.op, moved, {kHostIp, 80});
  ASSERT_TRUE(world.run_until([&] { return connected.ended; }, 1s));
  EXPECT_EQ(connected.last(), 0);
}

TEST(SimWorld, DifferentSeedsDiffer) {
  const auto run = [](std::uint64_t seed) {
    World world(seed);
    Host& a = world.add_host("a", {kHostIp});
    Host& b = world.add_host("b", {kOtherIp});
    EchoServer echo(a.loop(), {kHostIp, 80});
    Visitor visitor(b.loop(), {kHostIp, 80}, {.send_bytes = 100'000});
    visitor.start();
    EXPECT_TRUE(world.run_until([&] { return visitor.finished(100'000); }, 10s));
    return world.trace_hash();
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

// Many visitors at once, every fault, lost descriptors, a cut link: nothing is lost or left behind.
TEST(SimWorld, CrowdUnderFaults) {
  for_each_seed_twice(10, [](World& world) {
    Host& a = world.add_host("a", {kHostIp});
    Host& b = world.add_host("b", {kOtherIp});
    world.set_link(a, b, {.delay = 15ms, .jitter = 5ms, .loss = 0.002, .bandwidth = 200'000'000});
    world.set_faults(Faults::some(world.prng()));
    EchoServer echo(a.loop(), {kHostIp, 80});
    a.faults.no_descriptors_until = world.now() + 300ms;
    std::vector<std::unique_ptr<Visitor>> crowd;
    for (std::uint64_t i = 0; i < 40; ++i) {
      const std::uint64_t bytes = 1 + world.prng().below(100'000);
      VisitorPlan plan{.send_seed = i, .send_bytes = bytes, .expect_seed = i};
      crowd.push_back(std::make_unique<Visitor>(b.loop(), Address{kHostIp, 80}, plan));
      const Duration wait(world.prng().below(1'000'000'000));
      world.after(wait, [v = crowd.back().get()] { v->start(); });
    }
    world.after(500ms, [&] { world.cut(a, b); });
    world.after(3s, [&] { world.heal(a, b); });  // two more tries to connect are left at least
    const auto done = [&](const auto& v) { return v->finished(v->sender().sent()); };
    EXPECT_TRUE(world.run_until([&] { return std::ranges::all_of(crowd, done); }, 60s));
    crowd.clear();
    world.run_for(60s);
    EXPECT_EQ(world.tcp().count(), 0u);
    EXPECT_EQ(echo.open(), 0u);
    EXPECT_EQ(b.open_descriptors(), 0u);
  });
}

// --- resolver ---

struct Asker {
  io::ResolveRequest request{io::ResolveRequest::Handler::to<&Asker::on_answer>(this)};
  std::vector<Address> addresses;
  int code = -1;  // 0: an answer
  void on_answer(const Result<std::vector<Address>>& r) {
    code = r ? 0 : r.error().code;
    if (r) addresses = *r;
  }
};

TEST(SimResolver, AnswersAndFailures) {
  World world(1);
  SimLoop& loop = world.add_host("host", {kHostIp}).loop();
  SimNames names;
  names.set("relay.example", {kHostIp, kOtherIp});
  SimResolver resolver(loop, names);
  const auto ask = [&](std::string_view name) {
    Asker a;
    resolver.resolve(a.request, name, 443, Deadline::after(loop.now(), 2s));
    EXPECT_EQ(a.code, -1);
    world.run_until([&] { return a.code != -1; }, 3s);
    return std::pair(a.code, a.addresses);
  };
  EXPECT_EQ(ask("relay.example").second, (std::vector<Address>{{kHostIp, 443}, {kOtherIp, 443}}));
  EXPECT_EQ(ask("192.0.2.9").second, (std::vector<Address>{{IpAddress::v4(192, 0, 2, 9), 443}}));
  EXPECT_EQ(ask("nowhere.example").first, ENOENT);
  names.failing = EAGAIN;
  EXPECT_EQ(ask("relay.example").first, EAGAIN);
  names.failing = 0;
  names.silent = true;
  EXPECT_EQ(ask("relay.example").first, ETIMEDOUT);
  {
    Asker gone;
    resolver.resolve(gone.request, "relay.example", 443, Deadline::after(loop.now(), 2s));
  }
  Asker outlives;
  {
    SimResolver other(loop, names);
    other.resolve(outlives.request, "relay.example", 443, Deadline::after(loop.now(), 2s));
  }
  world.run_for(3s);
  EXPECT_EQ(outlives.code, -1);
  EXPECT_FALSE(outlives.request.waiting());
}

}  // namespace
}  // namespace adit::sim
