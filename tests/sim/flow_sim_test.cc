// The pump, the dialer and the socket end under every fault of the simulated network.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/limits.h"
#include "flow/dialer.h"
#include "flow/pump.h"
#include "flow/tcp_stream.h"
#include "sim/peers.h"
#include "sim/scenario.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_resolver.h"
#include "sim/sim_tcp.h"
#include "sim/sim_world.h"

namespace adit::sim {
namespace {

const IpAddress kVisitorIp = IpAddress::v4(198, 51, 100, 7);
const IpAddress kRelayIp = IpAddress::v4(192, 0, 2, 1);
const IpAddress kServiceIp = IpAddress::v4(203, 0, 113, 9);
const Address kRelay{kRelayIp, 443};
const Address kService{kServiceIp, 8080};

// Accepts, dials the service for each visitor, pumps.
class Forwarder final : public Server {
 public:
  explicit Forwarder(SimLoop& loop)
      : Server(loop, kRelay), resolver_(loop, names_), bulk_(loop) {}

  std::size_t ended(flow::PumpEnd how) const {
    return static_cast<std::size_t>(std::ranges::count(ends_, how));
  }
  std::size_t open() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(conversations_, [](const auto& c) { return c->pump != nullptr; }));
  }
  std::size_t dial_failures() const { return dial_failures_; }

 private:
  struct Conversation {
    Conversation(Forwarder& f, io::Socket v)
        : owner(f),
          visitor(std::move(v)),
          dialer(f.loop_, f.resolver_, flow::Dialer::Done::to<&Conversation::on_dialled>(this)) {
      dialer.dial({kServiceIp.text(), kService.port},
                  Deadline::after(f.loop_.now(), limits::kDialDeadline));
    }
    void on_dialled(Result<io::Socket> far) {
      if (!far) {
        ++owner.dial_failures_;
        return visitor.reset();
      }
      pump = std::make_unique<flow::Pump>(
          owner.loop_, owner.bulk_, owner.limits_,
          std::make_unique<flow::TcpStream>(owner.loop_, std::move(visitor)),
          std::make_unique<flow::TcpStream>(owner.loop_, std::move(*far)),
          flow::Pump::Done::to<&Conversation::on_done>(this));
      pump->start();
    }
    void on_done(flow::PumpEnd end) {
      owner.ends_.push_back(end);
      pump.reset();
    }
    Forwarder& owner;
    io::Socket visitor;
    flow::Dialer dialer;
    std::unique_ptr<flow::Pump> pump;
  };
  void serve(io::Socket socket) override {
    conversations_.push_back(std::make_unique<Conversation>(*this, std::move(socket)));
  }

  SimNames names_;
  SimResolver resolver_;
  flow::BulkQueue bulk_;
  flow::PumpLimits limits_{limits::kVisitorIdle, limits::kHalfClosedIdle};
  std::size_t dial_failures_ = 0;
  std::vector<flow::PumpEnd> ends_;
  std::vector<std::unique_ptr<Conversation>> conversations_;
};

struct Net {
  explicit Net(World& world, LinkModel link = {.delay = 5ms, .jitter = 2ms, .loss = 0.01})
      : visitor(world.add_host("visitor", {kVisitorIp})),
        relay(world.add_host("relay", {kRelayIp})),
        service(world.add_host("service", {kServiceIp})) {
    world.set_default_link(link);
  }
  Host &visitor, &relay, &service;
};

TEST(FlowSim, EchoesThroughThePumpUnderEveryFault) {
  for_each_seed_twice(40, [](World& world) {
    Net net(world);
    world.set_faults(Faults::some(world.prng()));
    EchoServer echo(net.service.loop(), kService);
    Forwarder forwarder(net.relay.loop());
    std::vector<std::unique_ptr<Visitor>> visitors;
    std::vector<std::uint64_t> bytes;
    for (std::uint64_t i = 0; i < 5; ++i) {
      bytes.push_back(world.prng().below(300'000));
      VisitorPlan plan{.send_seed = i, .send_bytes = bytes.back(), .expect_seed = i};
      if (i == 4) plan.read_pause = 2ms;
      visitors.push_back(std::make_unique<Visitor>(net.visitor.loop(), kRelay, plan));
      visitors.back()->start();
    }
    EXPECT_TRUE(world.run_until([&] {
      for (std::size_t i = 0; i < visitors.size(); ++i)
        if (!visitors[i]->finished(bytes[i])) return false;
      return true;
    }, 5min));
    EXPECT_TRUE(
        world.run_until([&] { return forwarder.ended(flow::PumpEnd::Finished) == 5; }, 10s));
    for (auto& v : visitors) v->close();
    EXPECT_TRUE(world.run_until([&] { return world.tcp().count() == 0; }, 10s));
  });
}

// Both ends learn of a reset, and nobody waits for ever, whenever it strikes.
TEST(FlowSim, ResetsEndBothSides) {
  for_each_seed(60, [](World& world) {
    Net net(world);
    world.set_faults(Faults::some(world.prng()));
    PatternServer server(net.service.loop(), kService,
                         {.send_seed = 2, .send_bytes = 1'000'000, .expect_seed = 1});
    Forwarder forwarder(net.relay.loop());
    Visitor visitor(net.visitor.loop(), kRelay, {.send_bytes = 1'000'000, .expect_seed = 2});
    visitor.start();
    world.run_for(Duration{static_cast<std::int64_t>(world.prng().below(400'000'000))});
    net.relay.faults.tcp_reset = 0.2;
    world.run_until([&] { return forwarder.accepted() > 0 && forwarder.open() == 0; }, 3min);
    EXPECT_EQ(forwarder.open(), 0u);
    EXPECT_TRUE(
        world.run_until([&] { return visitor.failed() || visitor.verifier().ended(); }, 3min));
    EXPECT_TRUE(visitor.verifier().intact());
    for (const auto& c : server.connections()) {
      EXPECT_TRUE(world.run_until([&] { return c->verifier.ended(); }, 3min));
      EXPECT_TRUE(c->verifier.intact());
    }
  });
}

// A paused video: the visitor reads nothing for longer than any time-out of the network.
TEST(FlowSim, AReaderMayPauseForMinutes) {
  World world(1);
  Net net(world, {.delay = 20ms});
  PatternServer server(net.service.loop(), kService, {.send_seed = 2, .send_bytes = 5'000'000});
  Forwarder forwarder(net.relay.loop());
  Visitor visitor(net.visitor.loop(), kRelay,
                  {.expect_seed = 2, .fin = false, .read_pause = 10min});
  visitor.start();
  world.run_for(50min);
  EXPECT_EQ(forwarder.open(), 1u);
  EXPECT_FALSE(visitor.failed());
  EXPECT_GT(visitor.verifier().received(), 0u);
  EXPECT_LT(visitor.verifier().received(), 5'000'000u);
}

TEST(FlowSim, AVanishedVisitorIsNoticed) {
  for (const bool sending : {true, false}) {
    World world(1);
    Net net(world, {.delay = 20ms});
    PatternServer server(net.service.loop(), kService,
                         {.send_seed = 2, .send_bytes = sending ? 5'000'000u : 10u, .fin = false});
    Forwarder forwarder(net.relay.loop());
    Visitor visitor(net.visitor.loop(), kRelay, {.send_bytes = 10, .expect_seed = 2, .fin = false});
    visitor.start();
    ASSERT_TRUE(world.run_until([&] { return forwarder.open() == 1; }, 1s));
    world.run_for(sending ? 50ms : 1s);
    world.cut(net.visitor, net.relay);
    EXPECT_TRUE(world.run_until([&] { return forwarder.open() == 0; }, 130s)) << sending;
    EXPECT_EQ(forwarder.ended(flow::PumpEnd::Failed), 1u);
    EXPECT_TRUE(world.run_until([&] { return server.connections().at(0)->verifier.ended(); }, 1s));
    EXPECT_EQ(server.connections().at(0)->verifier.error(), ECONNRESET);
  }
}

TEST(FlowSim, IdleAndHalfClosedTimeouts) {
  for (const bool half : {true, false}) {
    World world(1);
    Net net(world, {.delay = 20ms});
    PatternServer server(net.service.loop(), kService,
                         {.send_seed = 2, .send_bytes = 10, .fin = false});
    Forwarder forwarder(net.relay.loop());
    Visitor visitor(net.visitor.loop(), kRelay, {.send_bytes = 10, .expect_seed = 2, .fin = half});
    visitor.start();
    const Duration due = half ? limits::kHalfClosedIdle : limits::kVisitorIdle;
    world.run_for(due - 1s);
    EXPECT_EQ(forwarder.open(), 1u) << half;
    EXPECT_TRUE(world.run_until([&] { return forwarder.open() == 0; }, 2s)) << half;
    EXPECT_EQ(forwarder.ended(flow::PumpEnd::Idle), 1u);
    EXPECT_TRUE(world.run_until([&] { return visitor.failed(); }, 1s));
  }
}

TEST(FlowSim, DialerEndsAtItsDeadline) {
  World world(1);
  Net net(world);
  EchoServer echo(net.service.loop(), kService);
  Forwarder forwarder(net.relay.loop());
  world.cut(net.relay, net.service);
  Visitor visitor(net.visitor.loop(), kRelay, {.send_bytes = 10});
  visitor.start();
  const Instant start = world.now();
  ASSERT_TRUE(world.run_until([&] { return forwarder.dial_failures() == 1; }, 1min));
  EXPECT_GE(world.now() - start, limits::kDialDeadline);
  EXPECT_LT(world.now() - start, limits::kDialDeadline + 1s);
  world.heal(net.relay, net.service);
  world.run_for(1min);
  EXPECT_EQ(forwarder.dial_failures(), 1u);
}

}  // namespace
}  // namespace adit::sim
