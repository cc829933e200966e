#include "io/signals.h"

#include <array>
#include <csignal>

#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

class SignalsTest : public LoopConformance {
 public:
  void on_signal(int s) {
    seen_.push_back(s);
    if (seen_.size() == end_after_) signals_.reset();
  }

 protected:
  std::unique_ptr<Signals> signals_;
  std::vector<int> seen_;
  std::size_t end_after_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Real, SignalsTest, real_cases(), case_name);

TEST_P(SignalsTest, ArriveAsEvents) {
  const std::array<int, 2> wanted{SIGUSR1, SIGUSR2};
  auto opened = Signals::open(*loop_, wanted,
                              Signals::Handler::to<&SignalsTest::on_signal>(this));
  ASSERT_TRUE(opened);
  signals_ = std::move(*opened);
  EXPECT_EQ(std::raise(SIGUSR1), 0);
  EXPECT_EQ(std::raise(SIGUSR2), 0);
  ASSERT_TRUE(until([&] { return seen_.size() == 2; }));
  EXPECT_EQ(seen_, (std::vector<int>{SIGUSR1, SIGUSR2}));
  end_after_ = 3;
  EXPECT_EQ(std::raise(SIGUSR1), 0);
  ASSERT_TRUE(until([&] { return !signals_; }));
  sigset_t now;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &now), 0);
  EXPECT_EQ(::sigismember(&now, SIGUSR1), 0);
}

}  // namespace
}  // namespace adit::io
