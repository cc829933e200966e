// The heap against a model, through the timers of a loop.
#include <list>

#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

struct Clocked {
  explicit Clocked(Loop& loop, std::vector<Clocked*>& log)
      : timer(loop, Delegate<void()>::to<&Clocked::on_time>(this)), fired(log) {}
  void on_time() { fired.push_back(this); }

  Timer timer;
  std::vector<Clocked*>& fired;
  Instant expected = Instant::never();  // the model; never: not set
};

std::uint32_t next(std::uint32_t& state) {
  state = state * 1664525u + 1013904223u;
  return state >> 8;
}

TEST(TimerHeap, AgreesWithAModel) {
  auto loop = EpollLoop::open();
  ASSERT_TRUE(loop);
  std::uint32_t random = 7;
  std::vector<Clocked*> fired;
  std::list<Clocked> timers;
  for (int i = 0; i < 300; ++i) timers.emplace_back(**loop, fired);
  for (int round = 0; round < 100; ++round) {
    for (Clocked& c : timers) {
      switch (next(random) % 4) {
        case 0:  // due at once, in a random order, with equals
          c.expected = Instant{(*loop)->now().ns - next(random) % 100};
          c.timer.set(c.expected);
          break;
        case 1:
          c.expected = (*loop)->now() + 1h + Duration{next(random) % 1000};
          c.timer.set(c.expected);
          break;
        case 2:
          c.expected = Instant::never();
          c.timer.stop();
          break;
        default: break;
      }
    }
    std::size_t due = 0;
    for (const Clocked& c : timers) {
      EXPECT_EQ(c.timer.armed(), c.expected != Instant::never());
      due += c.expected <= (*loop)->now() ? 1 : 0;
    }
    fired.clear();
    (*loop)->turn((*loop)->now());
    ASSERT_EQ(fired.size(), due);
    Instant last{0};
    for (Clocked* c : fired) {
      EXPECT_LE(last, c->expected);
      EXPECT_FALSE(c->timer.armed());
      last = c->expected;
      c->expected = Instant::never();
    }
  }
}

}  // namespace
}  // namespace adit::io
