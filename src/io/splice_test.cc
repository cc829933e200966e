#include "io/splice.h"

#include "base/limits.h"
#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

class SpliceTest : public LoopConformance {};
INSTANTIATE_TEST_SUITE_P(Real, SpliceTest, real_cases(), case_name);

TEST_P(SpliceTest, ThreeAnswers) {
  Pair pair = connect_pair();
  auto pipe = SplicePipe::open();
  ASSERT_TRUE(pipe) << pipe.error().what;
  EXPECT_GE(pipe->capacity(), std::size_t{64} << 10);
  const auto nothing = splice_in(pair.server, *pipe, 1000);
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->would_block());
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("0123456789")));
  loop_->shutdown_write(pair.client);
  Recorder readable;
  loop_->poll(readable.op, pair.server.raw(), kReadable);
  ASSERT_TRUE(until([&] { return readable.ended; }));
  const auto four = splice_in(pair.server, *pipe, 4);
  ASSERT_TRUE(four);
  EXPECT_EQ(four->bytes, 4u);
  EXPECT_EQ(pipe->held(), 4u);
  const auto rest = splice_in(pair.server, *pipe, 1000);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->bytes, 6u);
  const auto end = splice_in(pair.server, *pipe, 1000);
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->end);
  EXPECT_EQ(pipe->held(), 10u);
  const auto out = splice_out(*pipe, pair.server);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, 10u);
  EXPECT_EQ(pipe->held(), 0u);
}

TEST_P(SpliceTest, ForwardsAStreamWhole) {
  Pair in = connect_pair(), out = connect_pair();
  const ByteVector sent = pattern(std::size_t{3} << 20);
  Sender sender(*loop_, in.client, sent);
  Recorder sink;
  loop_->receive(sink.op, out.client);
  PipePool pool;
  auto pipe = pool.borrow();
  ASSERT_TRUE(pipe);
  Recorder ready;
  bool ended = false;
  std::size_t moved = 0;
  while (moved < sent.size()) {
    const auto taken = splice_in(in.server, *pipe, pipe->capacity());
    ASSERT_TRUE(taken);
    ended = taken->end;
    ASSERT_FALSE(ended);
    std::size_t given = 0;
    if (pipe->held() > 0) {
      const auto n = splice_out(*pipe, out.server);
      ASSERT_TRUE(n);
      given = *n;
    }
    moved += given;
    if (taken->bytes + given > 0) continue;
    ready.ended = false;
    if (pipe->held() > 0) {
      loop_->poll(ready.op, out.server.raw(), kWritable);
    } else {
      loop_->poll(ready.op, in.server.raw(), kReadable);
    }
    ASSERT_TRUE(until([&] { return ready.ended; }));
  }
  ASSERT_TRUE(until([&] { return sink.bytes.size() == sent.size(); }));
  EXPECT_TRUE(sink.bytes == sent);
  pool.give_back(std::move(*pipe));
  EXPECT_EQ(pool.idle(), 1u);
}

TEST_P(SpliceTest, ResetIsAnErrorAndNoSignal) {
  Pair pair = connect_pair();
  PipePool pool;
  auto pipe = pool.borrow();
  ASSERT_TRUE(pipe);
  ASSERT_TRUE(loop_->send(pair.client, as_bytes("0123456789")));
  Recorder ready;
  loop_->poll(ready.op, pair.server.raw(), kReadable);
  ASSERT_TRUE(until([&] { return ready.ended; }));
  ASSERT_TRUE(splice_in(pair.server, *pipe, 1000));
  loop_->abort_on_close(pair.client);
  pair.client.reset();
  quiet(5ms);
  int error = 0;
  // ECONNRESET is told once, then it is EPIPE, which comes with SIGPIPE.
  for (int i = 0; i < 2; ++i) {
    const auto n = splice_out(*pipe, pair.server);
    ASSERT_FALSE(n);
    error = n.error().code;
  }
  EXPECT_EQ(error, EPIPE);
  pool.give_back(std::move(*pipe));
  EXPECT_EQ(pool.idle(), 0u) << "a pipe with bytes of one connection must not serve another";
}

TEST(PipePool, KeepsABoundedNumber) {
  PipePool pool;
  std::vector<SplicePipe> pipes;
  for (std::size_t i = 0; i < limits::kSplicePipesIdleMax + 3; ++i) {
    auto pipe = pool.borrow();
    ASSERT_TRUE(pipe);
    pipes.push_back(std::move(*pipe));
  }
  for (SplicePipe& p : pipes) pool.give_back(std::move(p));
  EXPECT_EQ(pool.idle(), limits::kSplicePipesIdleMax);
}

}  // namespace
}  // namespace adit::io
