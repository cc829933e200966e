// LoopConformance: timers, tasks, messages.
#pragma once

#include <list>
#include <thread>

#include "base/limits.h"
#include "io/loop_conformance.h"

namespace adit::io {

// A timer that notes when it fired.
class Alarm {
 public:
  Alarm(Loop& loop, std::vector<int>& log, int number)
      : timer(loop, Delegate<void()>::to<&Alarm::on_time>(this)),
        loop_(loop),
        log_(log),
        number_(number) {}
  Timer timer;
  Instant fired;
  std::function<void()> then;

 private:
  void on_time() {
    fired = loop_.now();
    log_.push_back(number_);
    if (then) then();
  }
  Loop& loop_;
  std::vector<int>& log_;
  int number_;
};

class Chore {
 public:
  explicit Chore(std::function<void()> work) : work_(std::move(work)) {}
  Task task{Delegate<void()>::to<&Chore::run>(this)};

 private:
  void run() { work_(); }
  std::function<void()> work_;
};

class Note : public Message {
 public:
  Note(std::function<void()> work, int& alive) : work_(std::move(work)), alive_(alive) { ++alive_; }
  ~Note() override { --alive_; }
  void run() override { work_(); }

 private:
  std::function<void()> work_;
  int& alive_;
};

TEST_P(LoopConformance, TimersFireInOrderAndNotEarly) {
  std::vector<int> log;
  std::list<Alarm> alarms;
  const Instant start = loop_->now();
  for (const int ms : {7, 3, 5, 1, 9}) {
    alarms.emplace_back(*loop_, log, ms).timer.set(start + ms * 1ms);
  }
  ASSERT_TRUE(until([&] { return log.size() == 5; }));
  EXPECT_EQ(log, (std::vector<int>{1, 3, 5, 7, 9}));
  for (const Alarm& a : alarms) {
    EXPECT_FALSE(a.timer.armed());
    EXPECT_GE(a.fired, a.timer.at());
  }
}

TEST_P(LoopConformance, TimersMoveAndStop) {
  std::vector<int> log;
  Alarm moved(*loop_, log, 1), stopped(*loop_, log, 2), never(*loop_, log, 3), kept(*loop_, log, 4);
  const Instant start = loop_->now();
  moved.timer.set(start + 1ms);
  moved.timer.set(start + 6ms);
  stopped.timer.set(start + 2ms);
  stopped.timer.stop();
  stopped.timer.stop();
  never.timer.set(start + 2ms);
  never.timer.set(Instant::never());
  kept.timer.set(start + 3ms);
  {
    Alarm destroyed(*loop_, log, 5);
    destroyed.timer.set(start + 1ms);
  }
  ASSERT_TRUE(until([&] { return log.size() == 2; }));
  quiet();
  EXPECT_EQ(log, (std::vector<int>{4, 1}));
}

TEST_P(LoopConformance, TimerHandlersMayDestroyTimersAndSetThemAgain) {
  std::vector<int> log;
  auto victim = std::make_unique<Alarm>(*loop_, log, 1);
  auto self = std::make_unique<Alarm>(*loop_, log, 2);
  Alarm again(*loop_, log, 3);
  const Instant at = loop_->now() + 2ms;
  self->then = [&] {
    victim.reset();
    self.reset();
  };
  self->timer.set(at);
  victim->timer.set(at + 1ms);
  int left = 3;
  again.then = [&] {
    if (--left > 0) again.timer.set(loop_->now() + 1ms);
  };
  again.timer.set(at + 1ms);
  ASSERT_TRUE(until([&] { return left == 0; }));
  EXPECT_EQ(log, (std::vector<int>{2, 3, 3, 3}));
}

TEST_P(LoopConformance, TurnReturnsAtItsLimit) {
  const Instant limit = loop_->now() + 3ms;
  int turns = 0;
  while (loop_->now() < limit) {
    loop_->turn(limit);
    ++turns;
  }
  EXPECT_LE(turns, 50) << "the loop does not wait";
  loop_->turn(loop_->now());  // does not block
}

TEST_P(LoopConformance, TasksRunOnceATurn) {
  int runs = 0, later = 0;
  Chore second([&] { ++later; });
  Chore first([&] {
    ++runs;
    loop_->run_later(second.task);
  });
  loop_->run_later(first.task);
  loop_->run_later(first.task);
  {
    Chore gone([&] { runs += 100; });
    loop_->run_later(gone.task);
  }
  loop_->turn(Instant::never());  // must not block: tasks wait
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(later, 1);
}

TEST_P(LoopConformance, RunEndsByStop) {
  std::vector<int> log;
  Alarm alarm(*loop_, log, 1);
  alarm.then = [&] { loop_->stop(); };
  alarm.timer.set(loop_->now() + 1ms);
  loop_->run();
  EXPECT_EQ(log.size(), 1u);
}

TEST_P(LoopConformance, MessagesRunOnceInOrderAndUpToTheBound) {
  int alive = 0;
  std::vector<int> seen;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(loop_->post(std::make_unique<Note>([&seen, i] { seen.push_back(i); }, alive)));
  }
  ASSERT_TRUE(until([&] { return seen.size() == 3; }));
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(alive, 0);
  std::size_t ran = 0;
  for (std::size_t i = 0; i < limits::kMailboxMessagesMax; ++i) {
    ASSERT_TRUE(loop_->post(std::make_unique<Note>([&] { ++ran; }, alive)));
  }
  EXPECT_FALSE(loop_->post(std::make_unique<Note>([&] { ++ran; }, alive)));
  EXPECT_EQ(alive, static_cast<int>(limits::kMailboxMessagesMax));
  ASSERT_TRUE(until([&] { return ran == limits::kMailboxMessagesMax; }));
  EXPECT_EQ(alive, 0);
}

TEST_P(LoopConformance, MessagesLeftDieWithTheLoop) {
  int alive = 0, ran = 0;
  ASSERT_TRUE(loop_->post(std::make_unique<Note>([&] { ++ran; }, alive)));
  harness_.reset();
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(ran, 0);
}

TEST_P(LoopConformance, AMessageWakesASleepingLoop) {
  if (!loop_->real_descriptors()) GTEST_SKIP() << "threads need a real loop";
  constexpr int kMessages = 2000;
  int alive = 0, seen = 0;
  std::atomic<int> counted = 0;
  std::thread other([&, loop = loop_] {
    for (int i = 0; i < kMessages; ++i) {
      // Every other one waits for the answer, so that the loop sleeps in between.
      class Count : public Message {
       public:
        Count(int& s, std::atomic<int>& c) : seen_(s), counted_(c) {}
        void run() override { counted_ = ++seen_; }
        int& seen_;
        std::atomic<int>& counted_;
      };
      EXPECT_TRUE(loop->post(std::make_unique<Count>(seen, counted)));
      while (i % 2 == 0 && counted <= i) std::this_thread::yield();
    }
  });
  EXPECT_TRUE(until([&] { return seen == kMessages; }, 30s));
  other.join();
  EXPECT_EQ(alive, 0);
}

}  // namespace adit::io
