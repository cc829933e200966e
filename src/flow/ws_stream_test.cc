#include "flow/ws_stream.h"

#include "flow/flow_test_ends.h"
#include "flow/flow_test_peers.h"
#include "flow/head_exchange.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

class WsStreamTest : public FlowTest {
 protected:
  void memory() {
    auto c = std::make_unique<MemoryEnd>(*loop_), s = std::make_unique<MemoryEnd>(*loop_);
    client_end = c.get();
    server_end = s.get();
    MemoryEnd::join(*c, *s);
    client.reset();
    server.reset();
    client.emplace(std::make_unique<WsStream>(*loop_, std::move(c), ws::Role::Client), 1, 2);
    server.emplace(std::make_unique<WsStream>(*loop_, std::move(s), ws::Role::Server), 2, 1);
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

  MemoryEnd *client_end = nullptr, *server_end = nullptr;
  std::optional<User> client, server;
};
INSTANTIATE_TEST_SUITE_P(Real, WsStreamTest, io::real_cases(), io::case_name);

TEST_P(WsStreamTest, BothWaysInAnyFragmentation) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{13}, std::size_t{5000}, SIZE_MAX}) {
    const std::uint64_t n = piece == 1 ? 3000 : 1'000'000;
    memory();
    client_end->piece = server_end->piece = piece;
    client->send(n);
    server->send(n);
    go();
    ASSERT_TRUE(until([&] { return client->received == n && server->received == n; }));
    EXPECT_TRUE(client->intact && server->intact);
  }
}

TEST_P(WsStreamTest, CloseEndsOneDirection) {
  memory();
  client->send(100);
  client->finish_after();
  go();
  ASSERT_TRUE(until([&] { return server->ended; }));
  EXPECT_EQ(server->received, 100u);
  EXPECT_FALSE(client->ended);
  server->send(200'000);
  server->finish_after();
  ASSERT_TRUE(until([&] { return client->ended; }));
  EXPECT_EQ(client->received, 200'000u);
  EXPECT_TRUE(client->intact);
  EXPECT_EQ(client->failures + server->failures, 0);
  EXPECT_TRUE(until([&] { return client->end->flushed() && server->end->flushed(); }));
}

TEST_P(WsStreamTest, ACutIsNoEnd) {
  memory();
  client->send(10);
  go();
  ASSERT_TRUE(until([&] { return server->received == 10; }));
  client_end->cut();
  ASSERT_TRUE(until([&] { return server->failures == 1; }));
  EXPECT_FALSE(server->ended);
}

TEST_P(WsStreamTest, AnEndThatDoesNotReadStopsTheOther) {
  memory();
  server->taking = false;
  client->send(10'000'000);
  go();
  ASSERT_TRUE(until([&] { return client->blocked && server_end->incoming().size() > 60'000; }));
  const std::uint64_t sent = client->sent;
  EXPECT_LT(sent, 400'000u);
  server->taking = true;
  server->take();
  ASSERT_TRUE(until([&] { return server->received == 10'000'000; }));
  EXPECT_TRUE(server->intact);
}

TEST_P(WsStreamTest, WhatIsNoWebSocketFails) {
  for (const std::string_view bytes : {"\x81\x80\x01\x02\x03\x04", "GET / HTTP/1.1\r\n"}) {
    memory();
    go();
    server_end->incoming().insert(server_end->incoming().end(), bytes.begin(), bytes.end());
    server->end->start();
    ASSERT_TRUE(until([&] { return server->failures == 1; })) << bytes;
  }
}

// --- the head before it --------------------------------------------------------------------------

struct Asked {
  void on_head(Result<http1::Head> r) { result.emplace(std::move(r)); }
  HeadExchange::Done done() { return HeadExchange::Done::to<&Asked::on_head>(this); }
  std::optional<Result<http1::Head>> result;
};

TEST_P(WsStreamTest, AHeadIsExchangedAndTheRestStaysUnread) {
  auto c = std::make_unique<MemoryEnd>(*loop_), s = std::make_unique<MemoryEnd>(*loop_);
  MemoryEnd::join(*c, *s);
  Asked client_asked, server_asked;
  const Instant soon = loop_->now() + 5s;
  HeadExchange from(*loop_, std::move(c), http1::HeadReader::Kind::Response,
                    "GET / HTTP/1.1\r\nHost: h\r\n\r\nmore", soon, client_asked.done());
  HeadExchange to(*loop_, std::move(s), http1::HeadReader::Kind::Request, "", soon,
                  server_asked.done());
  ASSERT_TRUE(until([&] { return server_asked.result.has_value(); }));
  ASSERT_TRUE(*server_asked.result);
  EXPECT_EQ((*server_asked.result)->method, "GET");
  const auto stream = to.take();
  EXPECT_EQ(as_text(stream->readable()), "more");
  stream->write(as_bytes("HTTP/1.1 204 No Content\r\n\r\n!"));
  ASSERT_TRUE(until([&] { return client_asked.result.has_value(); }));
  EXPECT_EQ((*client_asked.result)->status, 204);
  EXPECT_EQ(as_text(from.take()->readable()), "!");
}

TEST_P(WsStreamTest, AHeadThatDoesNotComeIsNotWaitedForLong) {
  const auto outcome = [&](std::string_view sent, bool cut) {
    auto c = std::make_unique<MemoryEnd>(*loop_), s = std::make_unique<MemoryEnd>(*loop_);
    MemoryEnd::join(*c, *s);
    Asked asked;
    HeadExchange from(*loop_, std::move(c), http1::HeadReader::Kind::Response, "",
                      loop_->now() + 50ms, asked.done());
    s->write(as_bytes(sent));
    if (cut) s->cut();
    EXPECT_TRUE(until([&] { return asked.result.has_value(); }));
    return asked.result && !*asked.result ? asked.result->error().code : 0;
  };
  EXPECT_EQ(outcome("HTTP/1.1 200 OK\r\n", false), ETIMEDOUT);
  EXPECT_EQ(outcome("HTTP/1.1 200 OK\r\n", true), ECONNRESET);
  EXPECT_EQ(outcome("\x16\x03\x01", false), EPROTO);
  EXPECT_EQ(outcome("HTTP/1.1 200 OK\r\na: " + std::string(20'000, 'b'), false), EMSGSIZE);
}

}  // namespace
}  // namespace adit::flow
