#include "flow/dialer.h"

#include <cerrno>
#include <deque>
#include <optional>

#include "flow/flow_test_peers.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

// Answers what it was told to, at the end of the turn.
class FixedResolver final : public io::Resolver {
 public:
  explicit FixedResolver(io::Loop& loop)
      : loop_(loop), task_(Delegate<void()>::to<&FixedResolver::run>(this)) {}
  ~FixedResolver() override {
    if (waiting_ != nullptr) forget(*waiting_);
  }
  void resolve(io::ResolveRequest& request, std::string_view host, std::uint16_t,
               Deadline) override {
    asked = host;
    waiting_ = &request;
    begin(request, 1);
    if (answers) loop_.run_later(task_);
  }
  std::optional<Result<std::vector<Address>>> answers;
  std::string asked;
  bool waiting() const { return waiting_ != nullptr; }

 private:
  void on_cancel(std::uint64_t) override { waiting_ = nullptr; }
  void run() {
    if (waiting_ != nullptr) answer(*std::exchange(waiting_, nullptr), *answers);
  }
  io::Loop& loop_;
  io::ResolveRequest* waiting_ = nullptr;
  io::Task task_;
};

class DialerTest : public FlowTest {
 protected:
  void SetUp() override {
    FlowTest::SetUp();
    if (loop_ == nullptr) return;
    resolver.emplace(*loop_);
    listener = listen();
    there = loop_->local_address(listener);
    io::Socket closed = listen();
    refuses = loop_->local_address(closed);
  }
  void TearDown() override {
    dialer.reset();
    socket.reset();
    listener.reset();
    resolver.reset();
    FlowTest::TearDown();
  }
  void dial(Duration limit = 10s) {
    said = 0;
    error.reset();
    dialer = std::make_unique<Dialer>(*loop_, *resolver,
                                      Dialer::Done::to<&DialerTest::on_done>(this));
    dialer->dial({"service.test", 80}, Deadline::after(loop_->now(), limit));
  }
  void on_done(Result<io::Socket> result) {
    ++said;
    if (result) {
      socket = std::move(*result);
    } else {
      error = result.error();
    }
    if (destroy_in_done) dialer.reset();
  }

  std::optional<FixedResolver> resolver;
  io::Socket listener, socket;
  Address there, refuses;
  std::unique_ptr<Dialer> dialer;
  int said = 0;
  bool destroy_in_done = false;
  std::optional<Error> error;
};
INSTANTIATE_TEST_SUITE_P(Real, DialerTest, io::real_cases(), io::case_name);

using Addresses = std::vector<Address>;

TEST_P(DialerTest, Connects) {
  resolver->answers = Addresses{there};
  dial();
  EXPECT_EQ(said, 0);
  ASSERT_TRUE(until([&] { return said > 0; }));
  EXPECT_EQ(resolver->asked, "service.test");
  ASSERT_TRUE(socket);
  EXPECT_EQ(loop_->peer_address(socket), there);
}

TEST_P(DialerTest, TakesTheNextAddressWhenOneRefuses) {
  destroy_in_done = true;
  resolver->answers = Addresses{refuses, refuses, there};
  dial();
  ASSERT_TRUE(until([&] { return said > 0; }));
  ASSERT_TRUE(socket);
  EXPECT_EQ(loop_->peer_address(socket), there);
  quiet();
  EXPECT_EQ(said, 1);
}

TEST_P(DialerTest, SaysWhoRefused) {
  resolver->answers = Addresses{refuses};
  dial();
  ASSERT_TRUE(until([&] { return said > 0; }));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ECONNREFUSED);
  EXPECT_NE(error->what.find(refuses.text()), std::string::npos) << error->what;
}

TEST_P(DialerTest, SaysThatTheNameIsUnknown) {
  resolver->answers = Result<Addresses>(Error{ENOENT, "no such name"});
  dial();
  ASSERT_TRUE(until([&] { return said > 0; }));
  EXPECT_EQ(error->code, ENOENT);
}

// A listener that is full drops what comes; the dialer goes on to the next address in time.
TEST_P(DialerTest, AnAddressThatDropsPacketsLeavesTimeForTheNext) {
  auto full = loop_->listen_tcp({IpAddress::loopback4(), 0}, {.reuse_port = false, .backlog = 1});
  ASSERT_TRUE(full);
  const Address drops = loop_->local_address(*full);
  std::deque<io::Socket> fill;
  std::deque<io::Recorder> fills;
  for (int i = 0; i < 8; ++i) {
    fill.push_back(open());
    fills.emplace_back();
    loop_->connect(fills.back().op, fill.back(), drops);
  }
  quiet(50ms);
  ASSERT_FALSE(fills.back().ended) << "the queue should be full";
  resolver->answers = Addresses{drops, there};
  dial(200ms);
  ASSERT_TRUE(until([&] { return said > 0; }));
  ASSERT_TRUE(socket) << error->what;
  EXPECT_EQ(loop_->peer_address(socket), there);

  socket.reset();
  resolver->answers = Addresses{drops};
  const Instant start = loop_->now();
  dial(50ms);  // and one alone takes all of it, and no more
  ASSERT_TRUE(until([&] { return said > 0; }));
  EXPECT_EQ(error->code, ETIMEDOUT);
  EXPECT_GE(loop_->now() - start, 50ms);
  quiet(50ms);
  EXPECT_EQ(said, 1) << "the end is said once";
}

TEST_P(DialerTest, DeadlineWhileResolving) {
  dial(30ms);
  ASSERT_TRUE(until([&] { return said > 0; }));
  EXPECT_EQ(error->code, ETIMEDOUT);
  EXPECT_FALSE(resolver->waiting()) << "the question is taken back";
}

TEST_P(DialerTest, DestroyedAtAnyTime) {
  dial();
  dialer.reset();
  EXPECT_FALSE(resolver->waiting());
  resolver->answers = Addresses{there};
  dial();
  dialer.reset();
  dial();
  loop_->turn(loop_->now());  // connecting now
  dialer.reset();
  quiet();
  EXPECT_EQ(said, 0);
}

}  // namespace
}  // namespace adit::flow
