// What one visitor gets through a tunnel over QUIC on a line of 100 Mbit/s, by round trip time and
// loss; both ways. TCP has no congestion control here, so only QUIC says something.
#include <gtest/gtest.h>

#include <cstdio>

#include "sim/scenario.h"
#include "sim/tunnel_world.h"

namespace adit::sim {
namespace {

constexpr std::uint64_t kLine = 100'000'000;  // bits a second

struct Case {
  Duration rtt;
  double loss;
  double least;  // share of the line
};

// Of the line, from the visitor's first byte to its last.
double share(const Case& c, bool upload, std::uint64_t seed) {
  World world(seed);
  world.set_trace_contents(false);
  TunnelWorld t(world);
  EXPECT_TRUE(t.start());
  // A queue of one bandwidth-delay product, or what a cheap router has.
  const auto product =
      static_cast<std::size_t>(kLine / 8 * static_cast<std::uint64_t>(c.rtt / 1us) / 1'000'000);
  LinkModel model;
  model.delay = c.rtt / 2;
  model.loss = c.loss;
  model.bandwidth = kLine;
  model.queue_bytes = std::max<std::size_t>(product, 128 << 10);
  world.set_link(t.relay_host, t.agent_host, model);
  world.run_for(2s);
  const std::uint64_t bytes = 250'000'000;
  const Instant from = world.now();
  const std::size_t visit = upload ? t.visit(0, bytes, 0) : t.visit(0, 0, bytes);
  EXPECT_TRUE(t.run_until([&] { return t.whole(visit); }, 20min)) << t.report();
  const double seconds = static_cast<double>((world.now() - from) / 1ms) / 1000;
  return static_cast<double>(bytes) * 8 / seconds / static_cast<double>(kLine);
}

TEST(Throughput, SlowTableOverRoundTripTimeAndLoss) {
  std::printf("share of 100 Mbit/s:  rtt ms   loss %%   down     up\n");
  for (const Case& c : std::initializer_list<Case>{{1ms, 0, 0.9},
                                                   {1ms, 0.001, 0.8},
                                                   {1ms, 0.01, 0.6},
                                                   {20ms, 0, 0.9},
                                                   {20ms, 0.001, 0.8},
                                                   {20ms, 0.01, 0.6},
                                                   {100ms, 0, 0.9},
                                                   {100ms, 0.001, 0.8},
                                                   {100ms, 0.01, 0.6}}) {
    const double down = share(c, false, 1), up = share(c, true, 1);
    std::printf("%28lld %8.1f %6.2f %6.2f\n", static_cast<long long>(c.rtt / 1ms), c.loss * 100,
                down, up);
    std::fflush(stdout);
    EXPECT_GE(down, c.least) << c.rtt / 1ms << " ms, loss " << c.loss;
    EXPECT_GE(up, c.least) << c.rtt / 1ms << " ms, loss " << c.loss;
  }
}

}  // namespace
}  // namespace adit::sim
