// LoopConformance: streams.
#pragma once

#include <list>
#include <optional>

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

TEST_P(LoopConformance, CancelEndsEachKindOnce) {
  Pair pair = connect_pair();
  Socket listener = listen();
  Socket datagrams = udp();
  Recorder accepting, receiving, polling, gathering;
  loop_->accept(accepting.op, listener);
  loop_->receive(receiving.op, pair.client);
  loop_->poll(polling.op, pair.server.raw(), kReadable);
  loop_->receive_datagrams(gathering.op, datagrams);
  for (const bool submitted : {false, true}) {
    if (submitted) quiet(1ms);
    for (Recorder* r : {&accepting, &receiving, &polling, &gathering}) {
      if (submitted) {
        loop_->cancel(r->op);
        loop_->cancel(r->op);
        EXPECT_FALSE(r->ended) << "completed from inside the call";
      }
    }
  }
  ASSERT_TRUE(until([&] {
    return accepting.ended && receiving.ended && polling.ended && gathering.ended;
  }));
  for (Recorder* r : {&accepting, &receiving, &polling, &gathering}) {
    EXPECT_EQ(r->results, std::vector<int>{-ECANCELED});
    loop_->cancel(r->op);  // not armed: nothing
  }
  quiet(1ms);
  EXPECT_EQ(receiving.results.size(), 1u);
}

// Started and cancelled in one turn: the kernel sees both at once.
TEST_P(LoopConformance, CancelBeforeTheFirstTurn) {
  Pair pair = connect_pair();
  Recorder receiving, polling;
  loop_->receive(receiving.op, pair.client);
  loop_->cancel(receiving.op);
  loop_->poll(polling.op, pair.server.raw(), kReadable);
  loop_->cancel(polling.op);
  EXPECT_FALSE(receiving.ended);
  ASSERT_TRUE(until([&] { return receiving.ended && polling.ended; }));
  EXPECT_EQ(receiving.last(), -ECANCELED);
  EXPECT_EQ(polling.last(), -ECANCELED);
}

TEST_P(LoopConformance, PauseAndResumeLoseNothing) {
  Pair pair = connect_pair();
  const ByteVector sent = pattern(std::size_t{1} << 20);
  Sender sender(*loop_, pair.client, sent);
  Recorder receiving;
  std::size_t pause_at = 10'000;
  int pauses = 0;
  receiving.then = [&](const Completion& c) {
    if (c.more && receiving.bytes.size() >= pause_at) {
      loop_->cancel(receiving.op);
      pause_at = receiving.bytes.size() + 30'000;
      ++pauses;
    }
  };
  loop_->receive(receiving.op, pair.server);
  ASSERT_TRUE(until([&] {
    if (receiving.ended && receiving.last() == -ECANCELED) {
      receiving.ended = false;
      loop_->receive(receiving.op, pair.server);
    }
    return receiving.bytes.size() == sent.size();
  }));
  EXPECT_GT(pauses, 3);
  EXPECT_TRUE(receiving.bytes == sent);
}

TEST_P(LoopConformance, HandlerMayDestroyItsOperation) {
  Pair pair = connect_pair();
  auto receiving = std::make_unique<Recorder>();
  int calls = 0;
  receiving->then = [&](const Completion&) {
    ++calls;
    receiving.reset();
  };
  loop_->receive(receiving->op, pair.server);
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("one")));
  ASSERT_TRUE(until([&] { return !receiving; }));
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("two")));
  quiet();
  EXPECT_EQ(calls, 1);
}

// What was on its way to a destroyed operation never reaches the one that has its slot now.
TEST_P(LoopConformance, DestroyedInFlightThenSlotUsedAgain) {
  Pair a = connect_pair();
  Pair b = connect_pair();
  for (int round = 0; round < 20; ++round) {
    std::optional<Recorder> doomed(std::in_place);
    loop_->receive(doomed->op, a.server);
    if (round % 2 == 0) loop_->turn(loop_->now());
    ASSERT_TRUE(loop_->send(a.client, as_bytes("for the dead")));
    doomed.reset();
    Recorder heir;
    loop_->receive(heir.op, b.server);
    ASSERT_TRUE(loop_->send(b.client, as_bytes("for the heir")));
    ASSERT_TRUE(until([&] { return heir.bytes.size() >= 12; }));
    EXPECT_EQ(as_text(heir.bytes), "for the heir");
    loop_->cancel(heir.op);
    ASSERT_TRUE(until([&] { return heir.ended; }));
  }
}

// An operation that was not submitted when its socket was closed never meets the number's next file.
TEST_P(LoopConformance, ClosedAndNumberUsedAgainInOneTurn) {
  for (int round = 0; round < 20; ++round) {
    Pair old = connect_pair();
    {
      Recorder doomed;
      loop_->receive(doomed.op, old.server);
    }
    old.server.reset();
    Pair fresh = connect_pair();
    Recorder at_server;
    ASSERT_TRUE(loop_->send(fresh.client, as_bytes("all of it")));
    quiet(1ms);
    loop_->receive(at_server.op, fresh.server);
    ASSERT_TRUE(until([&] { return at_server.bytes.size() == 9; }));
    EXPECT_EQ(as_text(at_server.bytes), "all of it");
  }
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

TEST_P(LoopConformance, AcceptGoesOnAfterItsOperationWasReplaced) {
  Socket listener = listen();
  {
    Recorder doomed;
    loop_->accept(doomed.op, listener);
    quiet(1ms);
  }
  quiet(1ms);
  Recorder accepting, connected;
  std::list<Socket> accepted;
  accepting.then = [&](const Completion& c) {
    if (c.result >= 0) accepted.push_back(loop_->adopt(c.result));
  };
  loop_->accept(accepting.op, listener);
  Socket client = open();
  loop_->connect(connected.op, client, loop_->local_address(listener));
  ASSERT_TRUE(until([&] { return connected.ended && !accepted.empty(); }));
}

TEST_P(LoopConformance, LoopDiesWithDetachedOperations) {
  Address at;
  {
    Socket listener = listen();
    at = loop_->local_address(listener);
    Pair pair = connect_pair();
    Socket datagrams = udp();
    Recorder accepting, receiving, polling, gathering;
    loop_->accept(accepting.op, listener);
    loop_->receive(receiving.op, pair.client);
    loop_->poll(polling.op, pair.server.raw(), kReadable);
    loop_->receive_datagrams(gathering.op, datagrams);
    quiet(1ms);
  }
  harness_.reset();
  harness_ = GetParam().make();
  ASSERT_TRUE(harness_);
  loop_ = &harness_->loop();
  const auto again = loop_->listen_tcp(at, {.reuse_port = false});
  EXPECT_TRUE(again) << again.error().what;  // the port is free
}

}  // namespace adit::io
