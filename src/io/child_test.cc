#include "io/child.h"

#include <chrono>

#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

class ChildTest : public LoopConformance {
 public:
  void on_done(Status status) {
    said_ = status ? "done" : status.error().what;
    child_.reset();
  }

 protected:
  std::string run(std::vector<std::string> arguments, Duration limit = 10s) {
    said_.clear();
    auto child = Child::start(*loop_, std::move(arguments),
                              Deadline::after(loop_->now(), limit),
                              Child::Done::to<&ChildTest::on_done>(this));
    if (!child) return child.error().what;
    child_ = std::move(*child);
    EXPECT_TRUE(until([&] { return !said_.empty(); }));
    return said_;
  }

  std::unique_ptr<Child> child_;
  std::string said_;
};
INSTANTIATE_TEST_SUITE_P(Real, ChildTest, real_cases(), case_name);

TEST_P(ChildTest, EndsAsItEnds) {
  EXPECT_EQ(run({"/bin/true"}), "done");
  EXPECT_EQ(run({"/bin/sh", "-c", "exit 3"}), "/bin/sh ended with code 3");
  EXPECT_EQ(run({"/bin/sh", "-c", "kill -9 $$"}), "/bin/sh was ended by signal 9");
  EXPECT_EQ(run({"/bin/sh", "-c", "read x"}), "/bin/sh ended with code 1") << "no input";
  EXPECT_EQ(run({"/does/not/exist"}), "/does/not/exist: No such file or directory");
}

TEST_P(ChildTest, HasADeadline) {
  EXPECT_EQ(run({"/bin/sleep", "60"}, 50ms), "/bin/sleep did not end in time");
}

TEST_P(ChildTest, GoesWithItsOwner) {
  auto child = Child::start(*loop_, {"/bin/sleep", "60"}, Deadline::after(loop_->now(), 60s),
                            Child::Done::to<&ChildTest::on_done>(this));
  ASSERT_TRUE(child);
  child->reset();
  loop_->turn(loop_->now() + 10ms);
  EXPECT_EQ(said_, "");
}

}  // namespace
}  // namespace adit::io
