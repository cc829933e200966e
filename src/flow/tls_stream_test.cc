#include "flow/tls_stream.h"

#include <cerrno>

#include "crypto/test_tls.h"
#include "flow/flow_test_ends.h"
#include "flow/flow_test_peers.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

// A record that no key of the connection has made.
constexpr std::string_view kGarbage("\x17\x03\x03\x00\x20 32 bytes that look like ciphertext", 38);

class TlsStreamTest : public FlowTest {
 protected:
  void memory() {
    auto c = std::make_unique<MemoryEnd>(*loop_), s = std::make_unique<MemoryEnd>(*loop_);
    client_end = c.get();
    server_end = s.get();
    MemoryEnd::join(*c, *s);
    start(std::move(c), std::move(s));
  }
  void sockets() {
    Pair pair = connect_pair();
    start(std::make_unique<TcpStream>(*loop_, std::move(pair.client)),
          std::make_unique<TcpStream>(*loop_, std::move(pair.server)));
  }
  void start(std::unique_ptr<Duplex> c, std::unique_ptr<Duplex> s) {
    static const crypto::Identity id("relay.example");
    if (!contexts) contexts.emplace(crypto::server_options(id), crypto::pinned());
    auto cs = crypto::must(crypto::TlsSession::client(contexts->client_context, "relay.example"));
    auto ss = crypto::must(crypto::TlsSession::server(contexts->server_context));
    client.reset();
    server.reset();
    client.emplace(std::make_unique<TlsStream>(*loop_, std::move(c), std::move(cs)), 1, 2);
    server.emplace(std::make_unique<TlsStream>(*loop_, std::move(s), std::move(ss)), 2, 1);
  }
  void go() {
    client->end->start();
    server->end->start();
  }
  void TearDown() override {
    client.reset();
    server.reset();
    FlowTest::TearDown();
  }

  std::optional<crypto::Pair> contexts;
  MemoryEnd *client_end = nullptr, *server_end = nullptr;
  std::optional<User> client, server;
};
INSTANTIATE_TEST_SUITE_P(Real, TlsStreamTest, io::real_cases(), io::case_name);

TEST_P(TlsStreamTest, HandshakeInAnyFragmentation) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{13}, std::size_t{5000}}) {
    memory();
    client_end->piece = server_end->piece = piece;
    client->send(5000);  // before the handshake: kept back, and sent by itself
    server->send(5000);
    go();
    ASSERT_TRUE(until([&] { return client->received == 5000 && server->received == 5000; }));
    EXPECT_TRUE(client->intact && server->intact);
  }
}

TEST_P(TlsStreamTest, BulkBothWays) {
  for (const bool real : {false, true}) {
    real ? sockets() : memory();
    client->send(8'000'000);
    server->send(6'000'000);
    client->finish_after();
    server->finish_after();
    go();
    ASSERT_TRUE(until([&] { return client->ended && server->ended; }, 60s));
    EXPECT_EQ(server->received, 8'000'000u);
    EXPECT_EQ(client->received, 6'000'000u);
    EXPECT_TRUE(client->intact && server->intact);
    ASSERT_TRUE(until([&] { return client->end->flushed() && server->end->flushed(); }));
    EXPECT_EQ(client->failures + server->failures, 0);
  }
}

TEST_P(TlsStreamTest, BackPressure) {
  for (const bool real : {false, true}) {
    real ? sockets() : memory();
    server->taking = false;
    client->send(100'000'000);
    go();
    std::uint64_t before = UINT64_MAX;
    while (before != client->sent) {
      before = client->sent;
      quiet(100ms);
    }
    EXPECT_TRUE(client->blocked);
    if (!real) {
      EXPECT_LT(client->sent, 300'000u);
    }
    server->taking = true;
    server->take();
    const std::uint64_t wanted = client->sent + 1'000'000;
    ASSERT_TRUE(until([&] { return server->received >= wanted; }, 60s));
    EXPECT_TRUE(server->intact);
  }
}

TEST_P(TlsStreamTest, CloseNotifyInBothOrders) {
  for (const bool client_first : {true, false}) {
    memory();
    User& first = client_first ? *client : *server;
    User& second = client_first ? *server : *client;
    go();
    first.send(1000);
    first.finish_after();
    ASSERT_TRUE(until([&] { return second.ended; }));
    EXPECT_EQ(second.received, 1000u);
    EXPECT_FALSE(first.ended);
    second.send(200'000);
    second.finish_after();
    ASSERT_TRUE(until([&] { return first.ended; }));
    EXPECT_EQ(first.received, 200'000u);
    EXPECT_TRUE(first.intact && second.intact);
    EXPECT_EQ(first.failures + second.failures, 0);
  }
}

TEST_P(TlsStreamTest, TruncationFails) {
  for (const bool in_handshake : {true, false}) {
    memory();
    go();
    if (!in_handshake) {
      client->send(1000);
      ASSERT_TRUE(until([&] { return server->received == 1000; }));
      client->send(100);  // still delivered
    }
    client_end->cut();
    ASSERT_TRUE(until([&] { return server->failures > 0; }));
    EXPECT_EQ(server->error.code, ECONNABORTED);
    EXPECT_EQ(server->received, in_handshake ? 0u : 1100u);
    EXPECT_FALSE(server->ended);
    quiet();
    EXPECT_EQ(server->failures, 1);
  }
}

TEST_P(TlsStreamTest, GarbageFailsWithAnAlertForThePeer) {
  for (const bool dies : {false, true}) {
    memory();
    go();
    client->send(1000);
    ASSERT_TRUE(until([&] { return server->received == 1000; }));
    server->die_on_failed = dies;
    EXPECT_EQ(client_end->write(as_bytes(kGarbage)), kGarbage.size());
    ASSERT_TRUE(until([&] { return server->failures > 0; }));
    ASSERT_TRUE(until([&] { return client->failures > 0; }));
    EXPECT_NE(client->error.what.find("bad_record_mac"), std::string::npos) << client->error.what;
  }
}

TEST_P(TlsStreamTest, EndedDuringTheHandshake) {
  memory();
  server->finish_after();
  go();
  client->send(1000);
  ASSERT_TRUE(until([&] { return client->ended && server->received == 1000; }));
  EXPECT_EQ(client->failures + server->failures, 0);
}

// What comes behind our own end may be wrong, too; nothing is written behind it (MemoryEnd checks).
TEST_P(TlsStreamTest, GarbageBehindOurEnd) {
  memory();
  go();
  server->finish_after();
  ASSERT_TRUE(until([&] { return client->ended; }));
  EXPECT_EQ(client_end->write(as_bytes(kGarbage)), kGarbage.size());
  ASSERT_TRUE(until([&] { return server->failures > 0; }));
}

TEST_P(TlsStreamTest, FailureOfTheInnerEnd) {
  Pair pair = connect_pair();
  Peer peer(*loop_, std::move(pair.client), 1, 2);
  auto memory_end = std::make_unique<MemoryEnd>(*loop_);
  start(std::move(memory_end), std::make_unique<TcpStream>(*loop_, std::move(pair.server)));
  server->die_on_failed = true;
  server->end->start();
  peer.abort();
  ASSERT_TRUE(until([&] { return server->failures > 0; }));
  EXPECT_EQ(server->error.code, ECONNRESET);
}

// An end in order must be told even where the last record had to wait for room.
TEST_P(TlsStreamTest, FlushIsToldAfterAFullInnerEnd) {
  memory();
  client_end->capacity = 20'000;
  go();
  server->taking = false;
  client->send(500'000);
  client->finish_after();
  quiet();
  EXPECT_FALSE(client->end->flushed());
  server->taking = true;
  server->take();
  ASSERT_TRUE(until([&] { return server->ended && client->end->flushed(); }));
  EXPECT_EQ(server->received, 500'000u);
}

}  // namespace
}  // namespace adit::flow
