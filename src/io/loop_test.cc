// The suite on the real loops, and what only they can be asked.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "io/loop_conformance_cancel.h"
#include "io/loop_conformance_core.h"
#include "io/loop_conformance_tcp.h"
#include "io/loop_conformance_udp.h"
#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

INSTANTIATE_TEST_SUITE_P(Real, LoopConformance, all_real_cases(), case_name);

// Takes every descriptor that the process may still have. The limit is lowered first, as io_uring
// looks at it when an operation starts.
class DescriptorHog {
 public:
  DescriptorHog() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    low_ = before_;
    low_.rlim_cur = 512;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &low_), 0);
  }
  ~DescriptorHog() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  void take_all() {
    while (held_.size() < low_.rlim_cur) {
      Fd fd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
      if (!fd) break;
      held_.push_back(std::move(fd));
    }
  }
  void give_back() { held_.clear(); }

 private:
  rlimit before_{}, low_{};
  std::vector<Fd> held_;
};

class RealLoops : public LoopConformance {};
INSTANTIATE_TEST_SUITE_P(Real, RealLoops, all_real_cases(), case_name);

TEST_P(RealLoops, AcceptTellsThatDescriptorsRanOut) {
  Socket listener = listen();
  Socket client = open();
  Recorder accepting, connected;
  std::vector<Socket> accepted;
  accepting.then = [&](const Completion& c) {
    if (c.result >= 0) accepted.push_back(loop_->adopt(c.result));
  };
  DescriptorHog hog;
  loop_->accept(accepting.op, listener);
  quiet(1ms);
  hog.take_all();
  loop_->connect(connected.op, client, loop_->local_address(listener));
  for (int i = 0; i < 2; ++i) {  // the second time armed too early: the same again
    ASSERT_TRUE(until([&] { return accepting.ended; }));
    EXPECT_EQ(accepting.last(), -EMFILE);
    EXPECT_FALSE(loop_->open_tcp({IpAddress::loopback4(), 0}));
    if (i == 1) hog.give_back();
    accepting.ended = false;
    loop_->accept(accepting.op, listener);
  }
  ASSERT_TRUE(until([&] { return accepted.size() == 1; }));
}

TEST_P(RealLoops, ASocketMovesToAnotherLoop) {
  Pair pair = connect_pair();
  {
    Recorder early;  // the number was watched here before
    loop_->receive(early.op, pair.server);
    loop_->turn(loop_->now());
    loop_->cancel(early.op);
    ASSERT_TRUE(until([&] { return early.ended; }));
  }
  const auto other = GetParam().make();
  Loop& second = other->loop();
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("hello")));
  Recorder at_server;
  {
    Socket moved = second.adopt(pair.server.release());
    second.receive(at_server.op, moved);
    const Instant limit = second.now() + 10s;
    while (at_server.bytes.size() < 5 && second.now() < limit) second.turn(limit);
    EXPECT_EQ(as_text(at_server.bytes), "hello");
    // And back again, under the same number.
    second.cancel(at_server.op);
    while (!at_server.ended && second.now() < limit) second.turn(limit);
    pair.server = loop_->adopt(moved.release());
  }
  Recorder again;
  loop_->receive(again.op, pair.server);
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("once more")));
  ASSERT_TRUE(until([&] { return again.bytes.size() == 9; }));
}

// Descriptors that somebody else owns, closes and opens under the same number behind the loop's
// back.
TEST_P(RealLoops, PollOnForeignDescriptors) {
  int number = -1;
  for (int round = 0; round < 5; ++round) {
    Fd counter(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ASSERT_TRUE(counter);
    if (round > 0) {
      EXPECT_EQ(counter.get(), number);
    }
    number = counter.get();
    Recorder reading, writing;
    loop_->poll(reading.op, number, kReadable);
    loop_->poll(writing.op, number, kWritable);
    ASSERT_TRUE(until([&] { return writing.ended; }));
    EXPECT_EQ(writing.last(), kWritable);
    EXPECT_FALSE(reading.ended);
    ASSERT_EQ(::eventfd_write(number, 1), 0);
    ASSERT_TRUE(until([&] { return reading.ended; }));
    EXPECT_NE(reading.last() & kReadable, 0);
    if (round % 2 == 0) {  // closed while a poll is in flight
      reading.ended = false;
      eventfd_t value;
      ASSERT_EQ(::eventfd_read(number, &value), 0);
      loop_->poll(reading.op, number, kReadable);
    }
  }
}

TEST_P(RealLoops, HangUpIsReadyForBoth) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
  Fd out(ends[0]), in(ends[1]);
  Recorder polling;
  loop_->poll(polling.op, out.get(), kReadable);
  in.reset();
  ASSERT_TRUE(until([&] { return polling.ended; }));
  EXPECT_EQ(polling.last(), kReadable | kWritable);
}

// More started in one turn than the submission queue holds, some cancelled again.
TEST_P(RealLoops, MoreOperationsThanTheQueueHolds) {
  constexpr std::size_t kOperations = 5000;
  const Fd counter(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  std::list<Recorder> polls;
  for (std::size_t i = 0; i < kOperations; ++i) {
    loop_->poll(polls.emplace_back().op, counter.get(), kReadable);
    if (i % 3 == 0) loop_->cancel(polls.back().op);
    if (i % 5 == 0) polls.pop_back();
  }
  ASSERT_EQ(::eventfd_write(counter.get(), 1), 0);
  ASSERT_TRUE(until([&] {
    return std::all_of(polls.begin(), polls.end(), [](auto& r) { return r.ended; });
  }));
}

// One direction that never runs dry must not keep the others waiting.
TEST_P(RealLoops, BulkDoesNotStarveSmall) {
  Pair bulk = connect_pair();
  Pair small = connect_pair();
  std::thread flood([fd = bulk.client.raw()] {
    const ByteVector block(1 << 18);
    while (::write(fd, block.data(), block.size()) >= 0 || errno == EAGAIN) {
    }
  });
  Recorder eating, echo;
  loop_->receive(eating.op, bulk.server);
  loop_->receive(echo.op, small.server);
  std::size_t eaten = 0;
  eating.then = [&](const Completion&) {
    eaten += eating.bytes.size();
    eating.bytes.clear();
  };
  EXPECT_TRUE(until([&] { return eaten > std::size_t{8} << 20; }));
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(loop_->send(small.client, as_bytes("x")));
    const std::size_t before = echo.bytes.size();
    for (int turns = 0; echo.bytes.size() == before; ++turns) {
      ASSERT_LT(turns, 100);
      loop_->turn(Instant::never());
    }
  }
  loop_->shutdown_write(bulk.client);  // ends the flood: EPIPE
  flood.join();
}

TEST_P(RealLoops, MadeOnOneThreadTurnedOnAnother) {
  harness_.reset();
  harness_ = GetParam().make();
  loop_ = &harness_->loop();
  Socket kept = udp();
  std::thread other([&] {
    Pair pair = connect_pair();
    Recorder at_server;
    loop_->receive(at_server.op, pair.server);
    EXPECT_TRUE(loop_->send(pair.client, as_bytes("hi")));
    EXPECT_TRUE(until([&] { return at_server.bytes.size() == 2; }));
  });
  other.join();
  const int raw = kept.raw();
  kept.reset();     // by a thread that may not submit any more
  harness_.reset();
  EXPECT_EQ(::fcntl(raw, F_GETFD), -1) << "left open";
}

TEST(MakeLoop, TellsItsChoice) {
  const auto choice = make_loop();
  ASSERT_TRUE(choice);
  EXPECT_TRUE(choice->reason.starts_with(name(choice->loop->backend()))) << choice->reason;
  const auto epoll = make_loop(Backend::Epoll);
  ASSERT_TRUE(epoll);
  EXPECT_EQ(epoll->loop->backend(), Backend::Epoll);
  EXPECT_FALSE(make_loop(Backend::Sim));
}

}  // namespace
}  // namespace adit::io
