#include "flow/bulk_queue.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "flow/flow_test_peers.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

// Comes back for its next chunk from within each.
class Eager final : public BulkWork {
 public:
  Eager(BulkQueue& queue, std::size_t chunks) : queue_(queue), left_(chunks) {
    queue_.push(*this);
  }
  std::size_t run_chunk() override {
    ++run;
    if (--left_ > 0) queue_.push(*this);
    return kChunk;
  }
  static constexpr std::size_t kChunk = limits::kPumpTurnBytesMax / 16;
  std::size_t run = 0;

 private:
  BulkQueue& queue_;
  std::size_t left_;
};

class BulkQueueTest : public FlowTest {};
INSTANTIATE_TEST_SUITE_P(Real, BulkQueueTest, io::real_cases(), io::case_name);

TEST_P(BulkQueueTest, ATurnMovesNoMoreThanItMay) {
  Eager one(*bulk, 100), two(*bulk, 100);
  std::size_t turns = 0;
  for (std::size_t before = 0; one.run + two.run < 200 && turns < 100; ++turns) {
    loop_->turn(loop_->now());
    EXPECT_LE(one.run + two.run - before, 16u);
    EXPECT_EQ(one.run, two.run);  // by turns
    before = one.run + two.run;
  }
  EXPECT_EQ(one.run + two.run, 200u);
  EXPECT_GE(turns, 200u / 16);
}

}  // namespace
}  // namespace adit::flow
