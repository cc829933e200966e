// LoopConformance: streams.
#pragma once

#include <algorithm>
#include <list>

#include "io/loop_conformance.h"

namespace adit::io {

TEST_P(LoopConformance, ConnectAcceptAndAddresses) {
  Pair pair = connect_pair();
  EXPECT_EQ(loop_->local_address(pair.client), loop_->peer_address(pair.server));
  EXPECT_EQ(loop_->peer_address(pair.client), loop_->local_address(pair.server));
  EXPECT_NE(loop_->local_address(pair.client).port, 0);
}

TEST_P(LoopConformance, BytesArriveBothWays) {
  Pair pair = connect_pair();
  Recorder at_client, at_server;
  loop_->receive(at_client.op, pair.client);
  loop_->receive(at_server.op, pair.server);
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("ping")));
  ASSERT_TRUE(until([&] { return at_server.bytes.size() == 4; }));
  ASSERT_TRUE(loop_->send(pair.server, as_bytes("pong")));
  ASSERT_TRUE(until([&] { return at_client.bytes.size() == 4; }));
  EXPECT_EQ(as_text(at_server.bytes), "ping");
  EXPECT_EQ(as_text(at_client.bytes), "pong");
}

// The FIN of one direction leaves the other alive, either way round.
TEST_P(LoopConformance, HalfClose) {
  for (const bool client_first : {true, false}) {
    Pair pair = connect_pair();
    Socket& first = client_first ? pair.client : pair.server;
    Socket& second = client_first ? pair.server : pair.client;
    Recorder at_first, at_second;
    loop_->receive(at_first.op, first);
    loop_->receive(at_second.op, second);
    ASSERT_TRUE(loop_->send(first, as_bytes("last words")));
    loop_->shutdown_write(first);
    ASSERT_TRUE(until([&] { return at_second.ended; }));
    EXPECT_EQ(at_second.last(), 0);
    EXPECT_EQ(as_text(at_second.bytes), "last words");
    EXPECT_FALSE(at_first.ended);
    ASSERT_TRUE(loop_->send(second, as_bytes("still here")));
    ASSERT_TRUE(until([&] { return at_first.bytes.size() == 10; }));
    loop_->shutdown_write(second);
    ASSERT_TRUE(until([&] { return at_first.ended; }));
    EXPECT_EQ(at_first.last(), 0);
  }
}

TEST_P(LoopConformance, ConnectionRefused) {
  Address nobody;
  {
    Socket listener = listen();
    nobody = loop_->local_address(listener);
  }
  quiet(1ms);  // the listener's close takes effect
  Socket client = open();
  Recorder connected;
  loop_->connect(connected.op, client, nobody);
  ASSERT_TRUE(until([&] { return connected.ended; }));
  EXPECT_EQ(connected.last(), -ECONNREFUSED);
}

TEST_P(LoopConformance, ResetIsAnError) {
  Pair pair = connect_pair();
  Recorder at_client;
  loop_->receive(at_client.op, pair.client);
  quiet(1ms);
  loop_->abort_on_close(pair.server);
  pair.server.reset();
  ASSERT_TRUE(until([&] { return at_client.ended; }));
  EXPECT_EQ(at_client.last(), -ECONNRESET);
}

TEST_P(LoopConformance, CloseSendsTheEndPromptly) {
  Pair pair = connect_pair();
  Recorder at_client;
  loop_->receive(at_client.op, pair.client);
  {
    Recorder at_server;  // in flight, destroyed before its socket is closed
    loop_->receive(at_server.op, pair.server);
    quiet(1ms);
  }
  pair.server.reset();
  ASSERT_TRUE(until([&] { return at_client.ended; }, 1s));
  EXPECT_EQ(at_client.last(), 0);
}

TEST_P(LoopConformance, ManyConnectionsAtOnce) {
  constexpr std::size_t kPairs = 400;  // more than there are receive buffers
  Socket listener = listen();
  std::list<Socket> clients, servers;
  std::list<Recorder> connecting, receiving;
  Recorder accepting;
  accepting.then = [&](const Completion& c) {
    ASSERT_GE(c.result, 0);
    Socket& s = servers.emplace_back(loop_->adopt(c.result));
    loop_->receive(receiving.emplace_back().op, s);
  };
  loop_->accept(accepting.op, listener);
  for (std::size_t i = 0; i < kPairs; ++i) {
    Socket& s = clients.emplace_back(open());
    loop_->connect(connecting.emplace_back().op, s, loop_->local_address(listener));
  }
  ASSERT_TRUE(until([&] { return servers.size() == kPairs; }));
  ASSERT_TRUE(until([&] {
    return std::all_of(connecting.begin(), connecting.end(), [](auto& r) { return r.ended; });
  }));
  const ByteVector message = pattern(5000);
  for (int round = 0; round < 3; ++round) {
    for (const Socket& s : clients) {
      const auto sent = loop_->send(s, message);
      ASSERT_TRUE(sent && *sent == message.size());
    }
    ASSERT_TRUE(until([&] {
      return std::all_of(receiving.begin(), receiving.end(),
                         [](auto& r) { return r.bytes.size() == 5000; });
    }));
    for (Recorder& r : receiving) {
      EXPECT_TRUE(r.bytes == message);
      r.bytes.clear();
    }
  }
  clients.clear();
  ASSERT_TRUE(until([&] {
    return std::all_of(receiving.begin(), receiving.end(),
                       [](auto& r) { return r.ended && r.last() == 0; });
  }));
}

TEST_P(LoopConformance, TwoMebibytesEachWay) {
  Pair pair = connect_pair();
  const ByteVector up = pattern(std::size_t{2} << 20, 1), down = pattern(std::size_t{2} << 20, 2);
  Recorder at_client, at_server;
  loop_->receive(at_client.op, pair.client);
  loop_->receive(at_server.op, pair.server);
  Sender sending_up(*loop_, pair.client, up), sending_down(*loop_, pair.server, down);
  ASSERT_TRUE(until([&] { return sending_up.done() && sending_down.done(); }));
  loop_->shutdown_write(pair.client);
  loop_->shutdown_write(pair.server);
  ASSERT_TRUE(until([&] { return at_client.ended && at_server.ended; }));
  EXPECT_TRUE(at_server.bytes == up);
  EXPECT_TRUE(at_client.bytes == down);
}

TEST_P(LoopConformance, PollWritableWaitsForRoom) {
  Pair pair = connect_pair();
  const ByteVector block = pattern(65536);
  std::size_t sent = 0;
  for (bool room = true; room;) {
    const auto n = loop_->send(pair.client, block);
    ASSERT_TRUE(n);
    sent += *n;
    room = *n != 0;
    ASSERT_LT(sent, std::size_t{64} << 20);
  }
  Recorder writable;
  loop_->poll(writable.op, pair.client.raw(), kWritable);
  quiet();
  EXPECT_FALSE(writable.ended);
  Recorder at_server;
  loop_->receive(at_server.op, pair.server);
  ASSERT_TRUE(until([&] { return writable.ended; }));
  EXPECT_EQ(writable.last(), kWritable);
  ASSERT_TRUE(until([&] { return at_server.bytes.size() == sent; }));
}

// Ready is a state, not an edge: asking twice without reading answers twice.
TEST_P(LoopConformance, PollTellsTheState) {
  Pair pair = connect_pair();
  Recorder readable, writable;
  loop_->poll(readable.op, pair.server.raw(), kReadable);
  loop_->poll(writable.op, pair.server.raw(), kWritable);
  ASSERT_TRUE(until([&] { return writable.ended; }));
  EXPECT_EQ(writable.last(), kWritable);
  EXPECT_FALSE(readable.ended);
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("x")));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(until([&] { return readable.ended; })) << i;
    EXPECT_NE(readable.last() & kReadable, 0);
    readable.ended = false;
    loop_->poll(readable.op, pair.server.raw(), kReadable);
  }
  Recorder receiving;
  ASSERT_TRUE(until([&] { return readable.ended; }));
  loop_->receive(receiving.op, pair.server);
  ASSERT_TRUE(until([&] { return receiving.bytes.size() == 1; }));
}

// The peer's end of its direction is no reason to call a full socket writable.
TEST_P(LoopConformance, AHalfClosedSocketWaitsUntilItIsWritable) {
  Pair pair = connect_pair();
  loop_->shutdown_write(pair.client);
  Recorder end;
  loop_->receive(end.op, pair.server);
  ASSERT_TRUE(until([&] { return end.ended; }));
  Sender sender(*loop_, pair.server, pattern(50'000'000));
  ASSERT_TRUE(sender.blocked());
  quiet();  // what the peer's buffer takes is sent
  EXPECT_TRUE(sender.blocked());
  Recorder waiting, cancelled;
  loop_->poll(waiting.op, pair.server.raw(), kWritable);
  loop_->poll(cancelled.op, pair.server.raw(), kWritable);
  quiet();
  EXPECT_FALSE(waiting.ended);
  loop_->cancel(cancelled.op);
  ASSERT_TRUE(until([&] { return cancelled.ended; }));
  EXPECT_EQ(cancelled.last(), -ECANCELED);
  Recorder reader;
  loop_->receive(reader.op, pair.client);
  ASSERT_TRUE(until([&] { return waiting.ended && sender.done(); }, 30s));
  EXPECT_EQ(waiting.last(), kWritable);
  ASSERT_TRUE(until([&] { return reader.bytes.size() == 50'000'000; }, 30s));
}

TEST_P(LoopConformance, ReceiveOnceTakesOneRunAndLeavesTheSocketAlone) {
  Pair pair = connect_pair();
  Recorder first;
  loop_->receive_once(first.op, pair.server);
  quiet();
  EXPECT_FALSE(first.ended);
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("one")));
  ASSERT_TRUE(until([&] { return first.ended; }));
  EXPECT_EQ(first.results.size(), 1u);
  std::string got(as_text(first.bytes));
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("two")));
  loop_->shutdown_write(pair.client);
  while (got.size() < 6) {
    Recorder next;
    loop_->receive_once(next.op, pair.server);
    ASSERT_TRUE(until([&] { return next.ended; }));
    ASSERT_GT(next.last(), 0);
    got += as_text(next.bytes);
  }
  EXPECT_EQ(got, "onetwo");
  Recorder end;
  loop_->receive_once(end.op, pair.server);
  ASSERT_TRUE(until([&] { return end.ended; }));
  EXPECT_EQ(end.last(), 0);
  Recorder cancelled;
  loop_->receive_once(cancelled.op, pair.client);
  loop_->cancel(cancelled.op);
  ASSERT_TRUE(until([&] { return cancelled.ended; }));
  EXPECT_EQ(cancelled.last(), -ECANCELED);
}

TEST_P(LoopConformance, StreamPairCarriesBothWaysAndEnds) {
  auto pair = loop_->stream_pair();
  ASSERT_TRUE(pair) << pair.error().what;
  auto& [a, b] = *pair;
  ASSERT_EQ(*loop_->send(a, as_bytes("there")), 5u);
  ASSERT_EQ(*loop_->send(b, as_bytes("and back")), 8u);
  loop_->shutdown_write(a);
  Recorder from_a, from_b;
  loop_->receive(from_a.op, a);
  loop_->receive(from_b.op, b);
  EXPECT_TRUE(until([&] { return from_b.ended && from_a.bytes.size() == 8; }));
  EXPECT_EQ(as_text(from_a.bytes), "and back");
  EXPECT_EQ(as_text(from_b.bytes), "there");
}

}  // namespace adit::io
