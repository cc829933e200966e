#include <gtest/gtest.h>

#include <cerrno>

#include "base/limits.h"
#include "sim/peers.h"
#include "sim/scenario.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_tcp.h"
#include "sim/sim_world.h"

namespace adit::sim {
namespace {

const IpAddress kServerIp = IpAddress::v4(192, 0, 2, 1);
const IpAddress kClientIp = IpAddress::v4(198, 51, 100, 7);
const Address kServer{kServerIp, 443};

struct Pair {
  explicit Pair(World& world, LinkModel link = {})
      : server(world.add_host("server", {kServerIp})),
        client(world.add_host("client", {kClientIp})) {
    world.set_link(server, client, link);
  }
  Host& server;
  Host& client;
};

TEST(SimTcp, EchoesUnderEveryFault) {
  for_each_seed_twice(30, [](World& world) {
    Pair net(world, {.delay = 8ms, .jitter = 3ms, .loss = 0.02, .bandwidth = 100'000'000});
    world.set_faults(Faults::some(world.prng()));
    EchoServer echo(net.server.loop(), kServer);
    Visitor visitor(net.client.loop(), kServer, {.send_bytes = 1'000'000});
    visitor.start();
    EXPECT_TRUE(world.run_until([&] { return visitor.finished(1'000'000); }, 60s));
    EXPECT_EQ(echo.accepted(), 1u);
    visitor.close();
    EXPECT_TRUE(world.run_until([&] { return world.tcp().count() == 0; }, 10s));
  });
}

TEST(SimTcp, ConnectTakesOneRoundTrip) {
  World world(1);
  Pair net(world, {.delay = 50ms});
  EchoServer echo(net.server.loop(), kServer);
  Visitor visitor(net.client.loop(), kServer, {});
  const Instant start = world.now();
  visitor.start();
  ASSERT_TRUE(world.run_until([&] { return visitor.connected(); }, 1s));
  EXPECT_GE(world.now() - start, 100ms);
  EXPECT_LT(world.now() - start, 101ms);
}

TEST(SimTcp, LoopbackIsFast) {
  World world(1);
  Pair net(world);
  EchoServer echo(net.client.loop(), {IpAddress::loopback4(), 3000});
  Visitor visitor(net.client.loop(), {IpAddress::loopback4(), 3000}, {.send_bytes = 100'000});
  visitor.start();
  EXPECT_TRUE(world.run_until([&] { return visitor.finished(100'000); }, 10ms));
}

TEST(SimTcp, RefusedWithoutListener) {
  World world(1);
  Pair net(world, {.delay = 10ms});
  Visitor visitor(net.client.loop(), kServer, {});
  visitor.start();
  ASSERT_TRUE(world.run_until([&] { return visitor.connect_error() != 0; }, 100ms));
  EXPECT_EQ(visitor.connect_error(), ECONNREFUSED);
}

TEST(SimTcp, ConnectTimesOutInBlackout) {
  World world(1);
  Pair net(world);
  EchoServer echo(net.server.loop(), kServer);
  world.cut(net.server, net.client);
  Visitor visitor(net.client.loop(), kServer, {});
  const Instant start = world.now();
  visitor.start();
  ASSERT_TRUE(world.run_until([&] { return visitor.connect_error() != 0; }, 30s));
  EXPECT_EQ(visitor.connect_error(), ETIMEDOUT);
  EXPECT_GE(world.now() - start, TcpNet::kConnectTimeout);
}

TEST(SimTcp, ConnectOutlivesShortBlackout) {
  World world(1);
  Pair net(world);
  EchoServer echo(net.server.loop(), kServer);
  world.cut(net.server, net.client);
  world.after(5s, [&] { world.heal(net.server, net.client); });
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 100});
  visitor.start();
  EXPECT_TRUE(world.run_until([&] { return visitor.finished(100); }, 15s));
}

TEST(SimTcp, DataWaitsForTheEndOfBlackout) {
  for_each_seed(20, [](World& world) {
    Pair net(world, {.delay = 20ms, .bandwidth = 20'000'000});
    EchoServer echo(net.server.loop(), kServer);
    Visitor visitor(net.client.loop(), kServer, {.send_bytes = 3'000'000});
    visitor.start();
    world.after(100ms + Duration(world.prng().below(1'000'000'000)),  // connected by then
                [&] { world.cut(net.server, net.client); });
    world.after(20s, [&] { world.heal(net.server, net.client); });
    EXPECT_FALSE(world.run_until([&] { return visitor.finished(3'000'000); }, 20s));
    EXPECT_TRUE(world.run_until([&] { return visitor.finished(3'000'000); }, 20s));
  });
}

TEST(SimTcp, TimesOutInLongBlackout) {
  World world(3);
  Pair net(world);
  EchoServer echo(net.server.loop(), kServer);
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 50'000'000});
  visitor.start();
  world.run_for(1s);
  world.cut(net.server, net.client);
  const Instant start = world.now();
  ASSERT_TRUE(world.run_until([&] { return visitor.failed(); }, 10min));
  EXPECT_EQ(visitor.verifier().error(), ETIMEDOUT);
  EXPECT_GE(world.now() - start, TcpNet::kRetransmitTimeout);
  EXPECT_LE(world.now() - start, TcpNet::kRetransmitTimeout + 10s);
}

TEST(SimTcp, BackPressureStopsTheSender) {
  World world(1);
  Pair net(world);
  SinkThatNeverReads sink(net.server.loop(), kServer);
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 10'000'000});
  visitor.start();
  world.run_for(5s);
  EXPECT_EQ(visitor.sender().sent(), TcpNet::kSendBufferBytes + TcpNet::kReceiveBufferBytes);
  EXPECT_FALSE(visitor.sender().done());
}

TEST(SimTcp, WindowOfZeroMayLastForEver) {
  World world(1);
  Pair net(world);
  SinkThatNeverReads sink(net.server.loop(), kServer);
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 10'000'000});
  visitor.start();
  world.run_for(10min);
  EXPECT_FALSE(visitor.failed());
  world.cut(net.server, net.client);
  EXPECT_TRUE(world.run_until([&] { return visitor.failed(); }, TcpNet::kRetransmitTimeout + 10s));
}

TEST(SimTcp, SlowReaderGetsAll) {
  World world(1);
  Pair net(world);
  PatternServer server(net.server.loop(), kServer, {.read_pause = 20ms});
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 2'000'000});
  visitor.start();
  ASSERT_TRUE(world.run_until([&] { return visitor.sender().done(); }, 60s));
  const PatternVerifier& seen = server.connections().at(0)->verifier;
  EXPECT_LT(seen.received(), 2'000'000u);
  EXPECT_TRUE(world.run_until([&] { return seen.eof(); }, 60s));
  EXPECT_TRUE(seen.intact());
  EXPECT_EQ(seen.received(), 2'000'000u);
}

TEST(SimTcp, HalfCloseLeavesTheOtherDirection) {
  World world(1);
  Pair net(world);
  PatternServer server(net.server.loop(), kServer, {.send_seed = 9, .send_bytes = 500'000});
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 10, .expect_seed = 9});
  visitor.start();
  ASSERT_TRUE(world.run_until([&] { return visitor.sender().done(); }, 1s));
  EXPECT_FALSE(visitor.verifier().eof());
  EXPECT_TRUE(world.run_until([&] { return visitor.finished(500'000); }, 10s));
  EXPECT_TRUE(server.connections().at(0)->verifier.eof());
}

TEST(SimTcp, AbortIsSeenAsReset) {
  World world(1);
  Pair net(world);
  PatternServer server(net.server.loop(), kServer, {.fin = false});
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 1000, .fin = false});
  visitor.start();
  ASSERT_TRUE(world.run_until([&] { return visitor.sender().done(); }, 1s));
  visitor.abort();
  world.run_for(1s);
  const PatternVerifier& seen = server.connections().at(0)->verifier;
  EXPECT_EQ(seen.received(), 1000u);
  EXPECT_EQ(seen.error(), ECONNRESET);
}

TEST(SimTcp, CloseWithUnreadDataResets) {
  World world(1);
  Pair net(world);
  SinkThatNeverReads sink(net.server.loop(), kServer);
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 1000, .fin = false});
  visitor.start();
  world.run_for(1s);
  sink.close_all();
  world.run_for(1s);
  EXPECT_EQ(visitor.verifier().error(), ECONNRESET);
}

TEST(SimTcp, SendingToAClosedPeerResets) {
  World world(1);
  Pair net(world);
  SinkThatNeverReads sink(net.server.loop(), kServer);
  Visitor visitor(net.client.loop(), kServer, {.fin = false});
  visitor.start();
  world.run_for(1s);
  sink.close_all();  // nothing unread: FIN
  world.run_for(1s);
  EXPECT_TRUE(visitor.verifier().eof());
  EXPECT_FALSE(visitor.failed());
}

TEST(SimTcp, CloseDeliversWhatWasSent) {
  World world(1);
  Pair net(world, {.delay = 50ms, .bandwidth = 1'000'000});
  PatternServer server(net.server.loop(), kServer, {.fin = false});
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 200'000});
  visitor.start();
  ASSERT_TRUE(world.run_until([&] { return visitor.sender().done(); }, 1s));
  visitor.close();
  world.run_for(10s);
  const PatternVerifier& seen = server.connections().at(0)->verifier;
  EXPECT_TRUE(seen.eof());
  EXPECT_EQ(seen.received(), 200'000u);
}

TEST(SimTcp, AddressChangeKillsSilently) {
  World world(1);
  Pair net(world);
  PatternServer server(net.server.loop(), kServer, {.fin = false});
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 100'000'000});
  visitor.start();
  world.run_for(1s);
  net.client.change_address(kClientIp, IpAddress::v4(203, 0, 113, 5));
  world.run_for(1s);
  EXPECT_FALSE(visitor.failed());
  EXPECT_TRUE(world.run_until([&] { return visitor.failed(); }, TcpNet::kRetransmitTimeout + 10s));
  const PatternVerifier& seen = server.connections().at(0)->verifier;
  // Had nothing to send: only keep-alive can know.
  EXPECT_TRUE(world.run_until([&] { return seen.ended(); }, 2min));
  EXPECT_EQ(seen.error(), ETIMEDOUT);
}

TEST(SimTcp, OutOfDescriptorsKeepsConnectionsWaiting) {
  World world(1);
  Pair net(world);
  EchoServer echo(net.server.loop(), kServer);
  net.server.faults.no_descriptors_until = world.now() + 2s;
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 10});
  visitor.start();
  world.run_for(1s);
  EXPECT_GT(echo.accept_errors(), 3u);
  EXPECT_EQ(echo.accepted(), 0u);
  EXPECT_TRUE(world.run_until([&] { return visitor.finished(10); }, 3s));
}

TEST(SimTcp, InjectedResetReachesBothEnds) {
  World world(1);
  Pair net(world);
  net.server.faults.tcp_reset = 1;
  PatternServer server(net.server.loop(), kServer, {.fin = false});
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 10});
  visitor.start();
  world.run_for(1s);
  EXPECT_EQ(visitor.verifier().error(), ECONNRESET);
  EXPECT_EQ(server.connections().at(0)->verifier.error(), ECONNRESET);
}

TEST(SimTcp, BandwidthHoldsForStreams) {
  World world(1);
  Pair net(world, {.delay = 1ms, .bandwidth = 8'000'000});
  PatternServer server(net.server.loop(), kServer, {});
  Visitor visitor(net.client.loop(), kServer, {.send_bytes = 5'000'000});
  const Instant start = world.now();
  visitor.start();
  const auto both_ended = [&] {
    return visitor.verifier().eof() && server.connections().at(0)->verifier.eof();
  };
  ASSERT_TRUE(world.run_until(both_ended, 60s));
  EXPECT_GE(world.now() - start, 5s);
  EXPECT_LE(world.now() - start, 6s);
}

}  // namespace
}  // namespace adit::sim
