// Paths, datagrams, and what may happen to a host.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "sim/scenario.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_world.h"

namespace adit::sim {
namespace {

const IpAddress kServerIp = IpAddress::v4(192, 0, 2, 1);
const IpAddress kClientIp = IpAddress::v4(198, 51, 100, 7);
const Address kServer{kServerIp, 443};

// A UDP socket that keeps what it gets, datagram by datagram.
class Inbox {
 public:
  struct Item {
    Address from, to;
    ByteVector bytes;
    std::uint8_t ecn;
    Instant at;
  };

  explicit Inbox(SimLoop& loop, const Address& at = {}, const io::UdpOptions& options = {})
      : loop_(loop), receive_(io::Op::Handler::to<&Inbox::on_datagrams>(this)) {
    auto s = loop.open_udp(at, options);
    CHECK(s);
    socket = std::move(*s);
    loop.receive_datagrams(receive_, socket);
  }
  Result<std::size_t> send(const Address& to, Bytes bytes, std::size_t segment = 0,
                           std::uint8_t ecn = 0) {
    return loop_.send_datagrams(socket, {to, {}, bytes, segment, ecn});
  }
  Address address() const { return loop_.local_address(socket); }

  io::Socket socket;
  std::vector<Item> items;
  std::size_t completions = 0, coalesced = 0;
  int error = 0;

 private:
  void on_datagrams(const io::Completion& c) {
    if (c.result < 0) {
      error = -c.result;
      return;
    }
    ++completions;
    if (c.segment_bytes != 0) ++coalesced;
    Bytes left = c.data;
    const std::size_t step = c.segment_bytes == 0 ? left.size() : c.segment_bytes;
    do {
      const Bytes one = left.first(std::min(step, left.size()));
      items.push_back({c.peer, c.local, {one.begin(), one.end()}, c.ecn, loop_.now()});
      left = left.subspan(one.size());
    } while (!left.empty());
  }

  SimLoop& loop_;
  io::Op receive_;
};

struct Net {
  explicit Net(World& w, LinkModel link = {})
      : world(w),
        server(w.add_host("server", {kServerIp})),
        client(w.add_host("client", {kClientIp})),
        at_server(server.loop(), kServer),
        at_client(client.loop()) {
    w.set_link(server, client, link);
  }
  // `count` datagrams that begin with their number, `gap` apart.
  void send_many(std::size_t count, std::size_t bytes, Duration gap) {
    ByteVector data(bytes);
    for (std::size_t i = 0; i < count; ++i) {
      data[0] = static_cast<std::uint8_t>(i >> 8);
      data[1] = static_cast<std::uint8_t>(i);
      ASSERT_TRUE(at_client.send(kServer, data));
      world.run_for(gap);
    }
  }
  std::vector<int> order() const {
    std::vector<int> out;
    for (const Inbox::Item& i : at_server.items) out.push_back(i.bytes[0] << 8 | i.bytes[1]);
    return out;
  }
  World& world;
  Host& server;
  Host& client;
  Inbox at_server, at_client;
};

TEST(SimNet, DelayAndAddresses) {
  World world(1);
  Net net(world, {.delay = 30ms});
  const Instant start = world.now();
  ASSERT_TRUE(net.at_client.send(kServer, as_bytes("hello"), 0, 2));
  ASSERT_TRUE(world.run_until([&] { return !net.at_server.items.empty(); }, 1s));
  EXPECT_GE(world.now() - start, 30ms);
  EXPECT_LT(world.now() - start, 30ms + 100us);
  const Inbox::Item& got = net.at_server.items[0];
  EXPECT_EQ(as_text(got.bytes), "hello");
  EXPECT_EQ(got.ecn, 2);
  EXPECT_EQ(got.to, kServer);
  EXPECT_EQ(got.from.ip, kClientIp);
  ASSERT_TRUE(net.at_server.send(got.from, as_bytes("back")));
  EXPECT_TRUE(world.run_until([&] { return !net.at_client.items.empty(); }, 1s));
  EXPECT_EQ(net.at_client.items[0].from, kServer);
}

TEST(SimNet, LossRate) {
  World world(1);
  Net net(world, {.loss = 0.1});
  net.send_many(10'000, 100, 100us);
  world.run_for(1s);
  EXPECT_NEAR(static_cast<double>(net.at_server.items.size()), 9000, 150);
  EXPECT_EQ(world.path(net.client, net.server).stats.lost, 10'000 - net.at_server.items.size());
}

TEST(SimNet, KeepsOrderUnlessToldToReorder) {
  World world(1);
  Net net(world, {.delay = 10ms, .jitter = 20ms});
  net.send_many(500, 100, 1ms);
  world.run_for(1s);
  EXPECT_TRUE(std::ranges::is_sorted(net.order()));
  EXPECT_EQ(net.at_server.items.size(), 500u);
  net.at_server.items.clear();
  world.set_link(net.server, net.client, {.delay = 10ms, .reorder = 0.1});
  net.send_many(500, 100, 1ms);
  world.run_for(1s);
  EXPECT_FALSE(std::ranges::is_sorted(net.order()));
  EXPECT_EQ(net.at_server.items.size(), 500u);
}

TEST(SimNet, Duplicates) {
  World world(1);
  Net net(world, {.duplicate = 0.5});
  net.send_many(1000, 100, 1ms);
  world.run_for(1s);
  EXPECT_NEAR(static_cast<double>(net.at_server.items.size()), 1500, 80);
}

TEST(SimNet, BandwidthAndQueue) {
  World world(1);
  // 1,000 bytes with headers take 8 ms; 20 of them fit the queue, and one is being sent.
  Net net(world, {.delay = 1ms, .bandwidth = 1'000'000, .queue_bytes = 20'000});
  const ByteVector data(30 * 972);
  ASSERT_TRUE(net.at_client.send(kServer, data, 972));
  const Instant start = world.now();
  world.run_for(1s);
  EXPECT_EQ(net.at_server.items.size(), 20u);
  EXPECT_GE(net.at_server.items.back().at - start, 161ms);
  EXPECT_LT(net.at_server.items.back().at - start, 162ms);
  EXPECT_EQ(world.path(net.client, net.server).stats.overflowed, 10u);
}

TEST(SimNet, CongestionMarks) {
  World world(1);
  Net net(world, {.bandwidth = 1'000'000, .ecn_mark_bytes = 5000});
  const ByteVector data(20 * 972);
  ASSERT_TRUE(net.at_client.send(kServer, data, 972, 2));
  world.run_for(1s);
  ASSERT_EQ(net.at_server.items.size(), 20u);
  EXPECT_EQ(net.at_server.items.front().ecn, 2);
  EXPECT_EQ(net.at_server.items.back().ecn, 3);
}

TEST(SimNet, BlackoutDropsWhatIsUnderWay) {
  World world(1);
  Net net(world, {.delay = 50ms});
  ASSERT_TRUE(net.at_client.send(kServer, as_bytes("a")));
  world.after(10ms, [&] { world.cut(net.server, net.client); });
  world.run_for(100ms);
  ASSERT_TRUE(net.at_client.send(kServer, as_bytes("b")));
  world.run_for(100ms);
  EXPECT_TRUE(net.at_server.items.empty());
  world.heal(net.server, net.client);
  ASSERT_TRUE(net.at_client.send(kServer, as_bytes("c")));
  world.run_for(100ms);
  EXPECT_EQ(net.at_server.items.size(), 1u);
}

TEST(SimNet, SegmentsAreSplitAndMayCoalesce) {
  for_each_seed(20, [](World& world) {
    Net net(world);
    const ByteVector data(10 * 1200 + 100, 7);
    std::size_t sent = 0;
    for (int i = 0; i < 20; ++i) {
      const auto n = net.at_client.send(kServer, data, 1200);
      ASSERT_TRUE(n);
      sent += *n;
      world.run_for(1ms);
    }
    world.run_for(1s);
    ASSERT_EQ(net.at_server.items.size(), 220u);
    for (std::size_t i = 0; i < 220; ++i)
      EXPECT_EQ(net.at_server.items[i].bytes.size(), i % 11 == 10 ? 100u : 1200u);
    EXPECT_GT(net.at_server.coalesced, 0u);
    EXPECT_LT(net.at_server.completions, 220u);
    EXPECT_EQ(sent, 20 * data.size());
  });
}

TEST(SimNet, TooLargeIsRefusedOrVanishes) {
  World world(1);
  Net net(world, {.mtu = 1400});
  const ByteVector data(1472);
  const auto refused = net.at_client.send(kServer, ByteVector(1473));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EMSGSIZE);
  ASSERT_TRUE(net.at_client.send(kServer, data));                      // too big for the path
  ASSERT_TRUE(net.at_client.send(kServer, Bytes(data).first(1372)));  // just fits
  world.run_for(1s);
  EXPECT_EQ(net.at_server.items.size(), 1u);
  Inbox pieces(net.client.loop(), {}, {.fragment = true});
  ASSERT_TRUE(pieces.send(kServer, ByteVector(30'000)));
  world.run_for(1s);
  EXPECT_EQ(net.at_server.items.size(), 2u);
}

TEST(SimNet, FullSendBufferTakesWholeDatagramsAndComesBack) {
  World world(5);
  Net net(world);
  net.client.faults.short_send = 1;
  const ByteVector data(50 * 1000);
  std::size_t sent = 0, zeros = 0;
  for (int i = 0; i < 1000 && sent < data.size(); ++i) {
    const auto n = net.at_client.send(kServer, Bytes(data).subspan(sent), 1000);
    ASSERT_TRUE(n);
    EXPECT_EQ(*n % 1000, 0u);
    if (*n == 0) ++zeros;
    sent += *n;
    world.run_for(50us);
  }
  EXPECT_EQ(sent, data.size());
  EXPECT_GT(zeros, 0u);
  world.run_for(1s);
  EXPECT_EQ(net.at_server.items.size(), 50u);
}

TEST(SimNet, AddressChange) {
  World world(1);
  Net net(world);
  const IpAddress other = IpAddress::v4(203, 0, 113, 5);
  ASSERT_TRUE(net.at_client.send(kServer, as_bytes("a")));
  world.run_for(100ms);
  net.client.change_address(kClientIp, other);
  ASSERT_TRUE(net.at_server.send(net.at_server.items[0].from, as_bytes("lost")));
  ASSERT_TRUE(net.at_client.send(kServer, as_bytes("b")));
  world.run_for(100ms);
  EXPECT_TRUE(net.at_client.items.empty());
  ASSERT_EQ(net.at_server.items.size(), 2u);
  EXPECT_EQ(net.at_server.items[1].from.ip, other);
  EXPECT_EQ(net.at_server.items[1].from.port, net.at_server.items[0].from.port);
  ASSERT_TRUE(net.at_server.send(net.at_server.items[1].from, as_bytes("found")));
  world.run_for(100ms);
  EXPECT_EQ(net.at_client.items.size(), 1u);
}

TEST(SimNet, RebindingOfAddressTranslation) {
  World world(1);
  Net net(world);
  const auto ping = [&] {
    ASSERT_TRUE(net.at_client.send(kServer, as_bytes("ping")));
    world.run_for(100ms);
  };
  const auto pong = [&](const Address& to) {
    const std::size_t before = net.at_client.items.size();
    EXPECT_TRUE(net.at_server.send(to, as_bytes("pong")));
    world.run_for(100ms);
    return net.at_client.items.size() > before;
  };
  ping();
  const Address plain = net.at_server.items.back().from;
  EXPECT_EQ(plain.port, net.at_client.address().port);
  EXPECT_TRUE(pong(plain));
  world.rebind_nat(net.client);
  EXPECT_FALSE(pong(plain));
  ping();
  const Address mapped = net.at_server.items.back().from;
  EXPECT_NE(mapped, plain);
  EXPECT_TRUE(pong(mapped));
  const IpAddress outside = IpAddress::v4(203, 0, 113, 9);
  world.rebind_nat(net.client, outside);
  ping();
  EXPECT_EQ(net.at_server.items.back().from.ip, outside);
  EXPECT_TRUE(pong(net.at_server.items.back().from));
  EXPECT_FALSE(pong(mapped));
}

TEST(SimNet, UnreachablePortTellsAConnectedSocket) {
  World world(1);
  Net net(world);
  const Address closed{kServerIp, 9};
  ASSERT_TRUE(net.at_client.send(closed, as_bytes("x")));
  world.run_for(100ms);
  EXPECT_EQ(net.at_client.error, 0);
  ASSERT_TRUE(net.client.loop().connect_udp(net.at_client.socket, closed));
  ASSERT_TRUE(net.at_client.send({}, as_bytes("x")));
  world.run_for(100ms);
  EXPECT_EQ(net.at_client.error, ECONNREFUSED);
}

TEST(SimNet, PausedHostGetsWhatItsBuffersHold) {
  World world(1);
  Net net(world);
  net.server.pause(1s);
  const ByteVector data(8 << 20);
  for (std::size_t i = 0; i < 8; ++i)
    ASSERT_TRUE(net.at_client.send(kServer, Bytes(data).first(1 << 20), 1024));
  world.run_for(900ms);
  EXPECT_TRUE(net.at_server.items.empty());
  world.run_for(1s);
  EXPECT_EQ(net.at_server.items.size(), std::size_t{4} << 10);
  EXPECT_EQ(net.server.stats.datagrams_dropped, std::size_t{4} << 10);
  EXPECT_GE(net.at_server.items[0].at - net.server.loop().now(), -1s);
}

TEST(SimNet, SharedPortGoesByAddresses) {
  World world(1);
  Host& server = world.add_host("server", {kServerIp});
  Host& client = world.add_host("client", {kClientIp});
  Inbox a(server.loop(), kServer, {.reuse_port = true});
  Inbox b(server.add_loop(), kServer, {.reuse_port = true});
  EXPECT_FALSE(server.loop().open_udp(kServer, {}));
  std::vector<std::unique_ptr<Inbox>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<Inbox>(client.loop()));
    for (int n = 0; n < 3; ++n) ASSERT_TRUE(clients.back()->send(kServer, as_bytes("x")));
  }
  world.run_for(1s);
  EXPECT_EQ(a.items.size() + b.items.size(), 120u);
  EXPECT_EQ(a.items.size() % 3, 0u);
  EXPECT_GT(a.items.size(), 20u);
  EXPECT_GT(b.items.size(), 20u);
}

}  // namespace
}  // namespace adit::sim
