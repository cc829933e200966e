// Two links over loopback UDP; what links do on a bad network is tested in the simulator.
#include "flow/quic_link.h"

#include <map>
#include <optional>

#include "crypto/test_tls.h"
#include "flow/flow_test_peers.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

quic::Settings settings(std::uint64_t streams) {
  quic::Settings s;
  s.idle_timeout = 30s;
  s.handshake_deadline = 10s;
  s.streams_bidi_max = streams;
  s.stream_window_bytes = 1 << 20;
  s.connection_window_bytes = 4 << 20;
  return s;
}

// A stream's sending side: `total` bytes of a pattern, then its end.
class Source final : public StreamSource {
 public:
  Source(std::uint64_t seed, std::uint64_t total) : bytes_(total) {
    for (std::size_t i = 0; i < total; ++i) bytes_[i] = pattern_byte(seed, i);
  }
  Bytes peek(std::uint64_t offset) const override { return Bytes(bytes_).subspan(offset); }
  bool ends_at(std::uint64_t offset) const override { return offset == bytes_.size(); }
  void acked(std::uint64_t) override {}

 private:
  ByteVector bytes_;
};

// One end: a UDP socket, its link, and what the link said.
class Side final : public DatagramPort, public CarrierListener {
 public:
  Side(io::Loop& loop, io::Socket s) : socket(std::move(s)), loop_(loop) {
    here = loop.local_address(socket);
    loop.receive_datagrams(receive_, socket);
  }
  void run(std::unique_ptr<quic::Connection> connection, bool control_opener) {
    link = std::make_unique<QuicLink>(loop_, *this, std::move(connection), control_opener);
    link->set_listener(this);
  }

  io::Socket socket;
  Address here;
  const crypto::TlsContext* accept_with = nullptr;
  std::unique_ptr<QuicLink> link;
  bool up = false, intact = true;
  std::string control;
  std::vector<CarrierStream> opened, closed;
  std::map<CarrierStream, std::uint64_t> received;
  std::vector<CarrierStream> ended;
  std::optional<CarrierDown> down;
  std::unique_ptr<Source> answer;  // sent on streams of the peer's

 private:
  Result<std::size_t> send(const quic::Outgoing& b) override {
    return loop_.send_datagrams(
        socket, io::DatagramBatch{b.path.peer, b.path.local, b.bytes, b.segment_bytes, b.ecn});
  }
  void wait_writable(QuicLink&) override {
    if (!writable_.armed()) loop_.poll(writable_, socket.raw(), io::kWritable);
  }
  void on_writable(const io::Completion&) {
    if (link != nullptr) link->on_port_writable();
  }
  void on_datagrams(const io::Completion& c) {
    if (c.result <= 0) return;
    const quic::Path path{here, c.peer};
    if (link == nullptr) {
      if (accept_with == nullptr) return;
      auto accepted = quic::Connection::accept(
          *accept_with, c.data.first(c.segment_bytes > 0 ? c.segment_bytes : c.data.size()), path,
          settings(1), 0, loop_.now());
      ASSERT_TRUE(accepted) << accepted.error().what;
      run(std::move(*accepted), false);
    }
    link->feed(path, c.ecn, c.data, c.segment_bytes);
  }

  void on_up() override { up = true; }
  void on_control(Bytes bytes) override { control += as_text(bytes); }
  void on_stream_opened(CarrierStream id) override {
    opened.push_back(id);
    if (answer != nullptr) link->attach(id, answer.get());
  }
  void on_stream_readable(CarrierStream id) override {
    for (Bytes b = link->readable(id); !b.empty(); b = link->readable(id)) {
      for (const std::uint8_t x : b) intact &= x == pattern_byte(5, received[id]++);
      link->consume(id, b.size());
    }
    if (link->at_end(id)) ended.push_back(id);
  }
  void on_stream_reset(CarrierStream, std::uint64_t) override { intact = false; }
  void on_stream_closed(CarrierStream id) override { closed.push_back(id); }
  void on_path_changed(const Address&) override {}
  void on_down(const CarrierDown& d) override {
    EXPECT_FALSE(down);
    down = d;
    link.reset();  // which the contract allows
  }

  io::Loop& loop_;
  io::Op receive_{io::Op::Handler::to<&Side::on_datagrams>(this)};
  io::Op writable_{io::Op::Handler::to<&Side::on_writable>(this)};
};

class QuicLinkTest : public FlowTest {};
INSTANTIATE_TEST_SUITE_P(Real, QuicLinkTest, io::real_cases(), io::case_name);

TEST_P(QuicLinkTest, CarriesControlAndStreamsAndCloses) {
  static const crypto::Identity id("relay.example");
  crypto::ServerTls server_tls = crypto::server_options(id);
  server_tls.alpn = {"adit/1"};
  server_tls.request_client_certificate = true;
  crypto::ClientTls client_tls = crypto::pinned_with(id);
  client_tls.alpn = {"adit/1"};
  const auto server_context = crypto::must(crypto::TlsContext::server(server_tls));
  const auto client_context = crypto::must(crypto::TlsContext::client(client_tls));

  Source sent(5, 3'000'000);
  Side relay(*loop_, udp()), agent(*loop_, udp());
  relay.accept_with = &server_context;
  agent.answer = std::make_unique<Source>(5, 1'000'000);
  auto connection = quic::Connection::connect(client_context, "relay.example",
                                              {agent.here, relay.here}, settings(100),
                                              loop_->now());
  ASSERT_TRUE(connection) << connection.error().what;
  agent.run(std::move(*connection), true);
  ASSERT_TRUE(until([&] { return relay.up && agent.up; }));
  EXPECT_FALSE(relay.link->peer_spki_der().empty());

  ASSERT_TRUE(agent.link->send_control(as_bytes("hello relay")));
  ASSERT_TRUE(until([&] { return relay.control == "hello relay"; }));
  ASSERT_TRUE(relay.link->send_control(as_bytes("hello agent")));
  ASSERT_TRUE(until([&] { return agent.control == "hello agent"; }));

  auto stream = relay.link->open_stream();
  ASSERT_TRUE(stream);
  relay.link->attach(*stream, &sent);
  ASSERT_TRUE(until([&] { return !agent.ended.empty() && !relay.ended.empty(); }, 60s));
  EXPECT_EQ(agent.received[*stream], 3'000'000u);
  EXPECT_EQ(relay.received[*stream], 1'000'000u);
  EXPECT_TRUE(agent.intact && relay.intact);
  ASSERT_TRUE(until([&] { return !agent.closed.empty() && !relay.closed.empty(); }));

  relay.link->close(7, "enough");
  ASSERT_TRUE(until([&] { return relay.down && agent.down; }));
  EXPECT_FALSE(relay.down->by_peer);
  EXPECT_TRUE(agent.down->by_peer && agent.down->application);
  EXPECT_EQ(agent.down->code, 7u);
  EXPECT_EQ(agent.down->reason, "enough");
}

}  // namespace
}  // namespace adit::flow
