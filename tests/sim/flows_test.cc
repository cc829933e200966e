// Visitors by UDP on a simulated network: flows over links that lose, move and die.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "sim/tunnel_world.h"

namespace adit::sim {
namespace {

constexpr std::uint16_t kPublic = 5000, kLocal = 5353;

// Sends back what it gets, and keeps who sent what.
class UdpEcho {
 public:
  UdpEcho(io::Loop& loop, const Address& at)
      : loop_(loop), receive_(io::Op::Handler::to<&UdpEcho::on_datagram>(this)) {
    auto socket = loop.open_udp(at, io::UdpOptions{});
    CHECK(socket);
    socket_ = std::move(*socket);
    loop.receive_datagrams(receive_, socket_);
  }
  std::set<Address> peers;
  std::size_t received = 0;

 private:
  void on_datagram(const io::Completion& c) {
    if (c.result < 0) return;
    peers.insert(c.peer);
    ++received;
    static_cast<void>(loop_.send_datagrams(socket_, io::DatagramBatch{c.peer, {}, c.data, 0, 0}));
  }

  io::Loop& loop_;
  io::Socket socket_;
  io::Op receive_;
};

// Sends one numbered datagram every `every`, and notes which came back.
class UdpVisitor {
 public:
  UdpVisitor(io::Loop& loop, const Address& to, Duration every)
      : loop_(loop),
        to_(to),
        every_(every),
        receive_(io::Op::Handler::to<&UdpVisitor::on_datagram>(this)),
        timer_(loop, Delegate<void()>::to<&UdpVisitor::send>(this)) {
    auto socket = loop.open_udp(Address{IpAddress::any4(), 0}, io::UdpOptions{});
    CHECK(socket);
    socket_ = std::move(*socket);
    loop.receive_datagrams(receive_, socket_);
    timer_.set(loop.now());
  }
  std::uint32_t sent = 0;
  std::set<std::uint32_t> answered;
  std::size_t strange = 0;  // not from where we sent to, or not what we sent

 private:
  void send() {
    ByteVector bytes;
    Writer w(bytes);
    w.u32(sent++);
    bytes.resize(sent % 7 == 0 ? 1400 : 100);
    static_cast<void>(loop_.send_datagrams(socket_, io::DatagramBatch{to_, {}, bytes, 0, 0}));
    timer_.set(loop_.now() + every_);
  }
  void on_datagram(const io::Completion& c) {
    if (c.result < 4) return;
    Reader r(c.data);
    const std::uint32_t number = r.u32();
    if (c.peer != to_ || number >= sent) ++strange;
    answered.insert(number);
  }

  io::Loop& loop_;
  const Address to_;
  const Duration every_;
  io::Socket socket_;
  io::Op receive_;
  io::Timer timer_;
};

struct FlowsWorld {
  FlowsWorld(std::uint64_t seed, service::CarrierChoice carrier, std::size_t threads = 1)
      : world(seed),
        t(world, {.relay_threads = threads}),
        echo(t.agent_host.loop(), {IpAddress::loopback4(), kLocal}) {
    t.agent.settings.carrier = carrier;
    t.relay.settings.agents.push_back(
        route::AgentGrant{t.agent.id(), {}, {{kPublic, kPublic}}, {}, {}});
    service::LocalServiceSettings udp;
    udp.number = ServiceNumber{2};
    udp.kind = service::ServiceKind::Udp;
    udp.ports = PortRange{kPublic, kPublic};
    udp.to = HostPort{"127.0.0.1", kLocal};
    t.agent.settings.services.push_back(std::move(udp));
  }
  UdpVisitor visitor(std::size_t host, Duration every) {
    return UdpVisitor(t.visitor_hosts[host]->loop(), {t.relay_address.ip, kPublic}, every);
  }

  World world;
  TunnelWorld t;
  UdpEcho echo;
};

constexpr service::CarrierChoice kBoth[] = {service::CarrierChoice::Quic,
                                            service::CarrierChoice::H2};

TEST(Flows, EachVisitorIsAnswered) {
  for (const service::CarrierChoice carrier : kBoth) {
    FlowsWorld f(1, carrier, 2);
    ASSERT_TRUE(f.t.start());
    UdpVisitor one = f.visitor(0, 20ms), two = f.visitor(1, 30ms);
    EXPECT_TRUE(f.t.run_until([&] { return one.answered.size() > 200; }, 10s));
    EXPECT_GT(two.answered.size(), 100u);
    EXPECT_EQ(one.strange + two.strange, 0u);
    EXPECT_EQ(f.echo.peers.size(), 2u);
    EXPECT_EQ(f.t.relay.metric("adit_flows"), 2);
  }
}

// The number of a flow is the session's: over a cut of the network and whatever links follow it the
// service goes on with the same peer.
TEST(Flows, SurviveTheirLinks) {
  for (const service::CarrierChoice carrier : kBoth) {
    FlowsWorld f(2, carrier);
    ASSERT_TRUE(f.t.start());
    UdpVisitor visitor = f.visitor(0, 20ms);
    ASSERT_TRUE(f.t.run_until([&] { return visitor.answered.size() > 50; }, 10s));
    for (int i = 0; i < 3; ++i) {
      f.world.cut(f.t.relay_host, f.t.agent_host);
      f.world.run_for(18s);
      f.world.heal(f.t.relay_host, f.t.agent_host);
      const std::size_t before = visitor.answered.size();
      ASSERT_TRUE(f.t.run_until([&] { return visitor.answered.size() > before + 50; }, 30s))
          << f.t.report();
    }
    EXPECT_EQ(visitor.strange, 0u);
    EXPECT_EQ(f.echo.peers.size(), 1u);
    EXPECT_EQ(f.t.relay.metric("adit_flows_total"), 1);
    // What waited for a link was bounded, the oldest dropped and counted.
    EXPECT_GT(f.t.relay.metric("adit_flow_datagrams_dropped_total", "reason=\"queue_full\""), 500);
  }
}

TEST(Flows, QuietOnesEnd) {
  FlowsWorld f(3, service::CarrierChoice::Quic);
  ASSERT_TRUE(f.t.start());
  {
    UdpVisitor visitor = f.visitor(0, 1s);
    ASSERT_TRUE(f.t.run_until([&] { return visitor.answered.size() > 2; }, 10s));
  }
  EXPECT_EQ(f.t.relay.metric("adit_flows"), 1);
  EXPECT_TRUE(f.t.run_until([&] { return f.t.relay.metric("adit_flows") == 0; }, 3min));
  // The agent was told: its socket is gone as well.
  f.world.run_for(1s);
  UdpVisitor again = f.visitor(0, 1s);
  EXPECT_TRUE(f.t.run_until([&] { return again.answered.size() > 2; }, 10s));
  EXPECT_EQ(f.echo.peers.size(), 2u);
}

// An agent that restarts has another session: the old flows are over, and the visitors' next
// datagrams make new ones.
TEST(Flows, EndWithTheirSession) {
  FlowsWorld f(4, service::CarrierChoice::Quic);
  ASSERT_TRUE(f.t.start());
  UdpVisitor visitor = f.visitor(0, 100ms);
  ASSERT_TRUE(f.t.run_until([&] { return visitor.answered.size() > 10; }, 10s));
  f.t.agent.kill();
  f.t.agent.start();
  const std::size_t before = visitor.answered.size();
  EXPECT_TRUE(f.t.run_until([&] { return visitor.answered.size() > before + 10; }, 30s));
  EXPECT_EQ(f.echo.peers.size(), 2u);
  EXPECT_EQ(f.t.relay.metric("adit_flows"), 1);
}

}  // namespace
}  // namespace adit::sim
