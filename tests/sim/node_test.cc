// The HTTP tunnel node and clients whose batches take seconds, on a virtual clock: every byte of
// many transfers at a time, with batches that overtake each other and answers that get lost.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/metrics.h"
#include "flow/bulk_queue.h"
#include "service/node/node.h"
#include "service/node/node_server.h"
#include "service/node/node_site.h"
#include "sim/node_client.h"
#include "sim/scenario.h"
#include "sim/sim_loop.h"
#include "sim/sim_resolver.h"

namespace adit::sim {
namespace {

constexpr const char* kSecret = "a key of sixteen or more characters";

// A node, the bridge that its clients' requests come from, and a server in the world.
struct NodeWorld {
  explicit NodeWorld(World& w)
      : world(w),
        node_host(w.add_host("node", {IpAddress::v4(11, 0, 0, 1)})),
        bridge(w.add_host("bridge", {IpAddress::v4(12, 0, 0, 1)})),
        web(w.add_host("web", {IpAddress::v4(13, 0, 0, 1)})),
        log(node_host),
        resolver(node_host.loop(), names),
        bulk(node_host.loop()),
        node(node_host.loop(), resolver, log, metrics, settings()),
        site(node, bulk),
        server(node_host.loop(), log, metrics, site),
        echo(web.loop(), Address{web.address(), 7}) {
    names.set("echo.example", {web.address()});
    CHECK(server.listen(Address{node_host.address(), 8080}));
  }
  service::NodeSettings settings() const {
    service::NodeSettings s;
    s.keys.push_back({.name = "test", .secret = kSecret});
    s.own.addresses = {node_host.address()};
    s.own.ports = {8080};
    return s;
  }
  Address address() const { return {node_host.address(), 8080}; }

  World& world;
  Host &node_host, &bridge, &web;
  SimLog log;
  Metrics metrics;
  SimNames names;
  SimResolver resolver;
  flow::BulkQueue bulk;
  service::Node node;
  service::NodeSite site;
  service::NodeServer server;
  EchoServer echo;
};

void transfer(World& world, std::size_t sessions, std::uint64_t bytes, bool zstd,
              const CarrierModel& carrier, NodeClientStats* stats = nullptr) {
  NodeWorld w(world);
  NodeClient client(world, w.bridge, w.address(), kSecret, zstd, carrier);
  for (std::size_t i = 0; i < sessions; ++i)
    client.open("echo.example", 7, world.seed() * 1000 + i, bytes);
  const bool done = world.run_until([&] { return client.done(); }, 10min);
  EXPECT_EQ(client.error(), "");
  EXPECT_TRUE(done) << "not through in ten minutes";
  if (stats != nullptr) *stats = client.stats();
  // Nothing is left of closed sessions.
  world.run_for(30s);
  EXPECT_EQ(w.node.sessions(), 0u);
  EXPECT_EQ(w.echo.open(), 0u);
}

TEST(NodeSim, HundredTransfersThroughACarrierOfTwoSeconds) {
  for_each_seed(2, [](World& world) {
    transfer(world, 100, 200'000, world.seed() % 2 == 0, {});
  });
}

TEST(NodeSim, LostAnswersAreAskedForAgain) {
  for_each_seed(3, [](World& world) {
    CarrierModel carrier;
    carrier.lose = 0.3;
    NodeClientStats stats;
    transfer(world, 20, 1'000'000, world.seed() % 2 == 0, carrier, &stats);
    EXPECT_GT(stats.lost, 0u);
    EXPECT_GT(stats.late, 3u);
  });
}

TEST(NodeSim, OneBatchAtATime) {
  for_each_seed(2, [](World& world) {
    CarrierModel carrier;
    carrier.batches_max = 1;
    transfer(world, 5, 100'000, true, carrier);
  });
}

}  // namespace
}  // namespace adit::sim
