// LoopConformance: cancelling, operations destroyed in flight, descriptor numbers used again.
#pragma once

#include <list>
#include <optional>

#include "io/loop_conformance.h"

namespace adit::io {

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

// An operation that was not submitted when its socket was closed never meets the number's next
// file.
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
