// What visitors get through a tunnel over QUIC on a line of 100 Mbit/s, by round trip time and
// loss, both ways: how much, and how soon. TCP has no congestion control here, so only QUIC says
// something.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "sim/scenario.h"
#include "sim/tunnel_world.h"

namespace adit::sim {
namespace {

constexpr std::uint64_t kLine = 100'000'000;  // bits a second

struct Line {
  Duration rtt;
  double loss;
  double least;  // share of the line
};

// Of the shares those at 100 ms are what was asked for; the others are a little under what was seen
// when they were written down.
constexpr Line kLines[] = {{1ms, 0, 0.8},   {1ms, 0.001, 0.75},  {1ms, 0.01, 0.75},
                           {20ms, 0, 0.85}, {20ms, 0.001, 0.85}, {20ms, 0.01, 0.75},
                           {100ms, 0, 0.9}, {100ms, 0.001, 0.8}, {100ms, 0.01, 0.6}};

// A tunnel whose only narrow place is between relay and agent.
struct Tunnel {
  Tunnel(const Line& line, std::uint64_t seed) : world(seed), t(world) {
    world.set_trace_contents(false);
    // A queue of one bandwidth-delay product, or what a cheap router has.
    const auto product = static_cast<std::size_t>(
        kLine / 8 * static_cast<std::uint64_t>(line.rtt / 1us) / 1'000'000);
    LinkModel model;
    model.delay = line.rtt / 2;
    model.loss = line.loss;
    model.bandwidth = kLine;
    model.queue_bytes = std::max<std::size_t>(product, 128 << 10);
    world.set_link(t.relay_host, t.agent_host, model);
    EXPECT_TRUE(t.start());
    world.run_for(2s);
  }
  // From the visitor's first byte to its last.
  Duration transfer(std::uint64_t up, std::uint64_t down) {
    const Instant from = world.now();
    const std::size_t visit = t.visit(0, up, down);
    EXPECT_TRUE(t.run_until([&] { return t.whole(visit); }, 20min)) << t.report();
    return world.now() - from;
  }

  World world;
  TunnelWorld t;
};

double share(const Line& line, bool upload) {
  constexpr std::uint64_t kBytes = 500'000'000;
  Tunnel tunnel(line, 1);
  const Duration took = upload ? tunnel.transfer(kBytes, 0) : tunnel.transfer(0, kBytes);
  const double seconds = static_cast<double>(took / 1us) / 1e6;
  return static_cast<double>(kBytes) * 8 / seconds / static_cast<double>(kLine);
}

TEST(Throughput, SlowTableOverRoundTripTimeAndLoss) {
  std::printf("share of 100 Mbit/s:  rtt ms   loss %%   down     up\n");
  for (const Line& line : kLines) {
    const double down = share(line, false), up = share(line, true);
    std::printf("%28lld %8.1f %6.2f %6.2f\n", static_cast<long long>(line.rtt / 1ms),
                line.loss * 100, down, up);
    std::fflush(stdout);
    EXPECT_GE(down, line.least) << line.rtt / 1ms << " ms, loss " << line.loss;
    EXPECT_GE(up, line.least) << line.rtt / 1ms << " ms, loss " << line.loss;
  }
}

struct Quantiles {
  Duration p50, p99;
};

// Pages of 64 KiB, one after the other on a link that has been idle or has a download beside them.
Quantiles pages(const Line& line, bool beside_a_download) {
  Tunnel tunnel(line, 2);
  if (beside_a_download) {
    tunnel.t.visit(1, 0, 10'000'000'000, true);
    tunnel.world.run_for(10s);
  }
  std::vector<Duration> took;
  for (int i = 0; i < 300; ++i) {
    took.push_back(tunnel.transfer(500, 64 << 10));
    tunnel.world.run_for(Duration{100ms} + Duration{1ms} * (i * 37 % 400));
  }
  std::ranges::sort(took);
  return {took[took.size() / 2], took[took.size() * 99 / 100]};
}

TEST(Throughput, SlowTableOfHowSoonAPageIsThere) {
  const auto ms = [](Duration d) { return static_cast<double>(d / 1us) / 1000; };
  std::printf("64 KiB, ms:  rtt   loss %%  idle: p50      p99  beside a download: p50      p99\n");
  for (const Line& line : kLines) {
    const Quantiles idle = pages(line, false), busy = pages(line, true);
    std::printf("%16lld %8.1f %10.1f %8.1f %23.1f %8.1f\n",
                static_cast<long long>(line.rtt / 1ms), line.loss * 100, ms(idle.p50),
                ms(idle.p99), ms(busy.p50), ms(busy.p99));
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace adit::sim
