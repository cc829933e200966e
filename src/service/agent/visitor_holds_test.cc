#include "service/agent/visitor_holds.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "base/limits.h"

namespace adit::service {
namespace {

using limits::kForeignVisitorLinger;

struct FakeRoutes final : io::AnswerRoutes {
  Status add_visitor(std::uint32_t table, const IpAddress& visitor, const IpAddress&) override {
    if (refuse) return errno_error(EPERM, "netlink");
    EXPECT_TRUE(there.emplace(table, visitor).second) << visitor.text();
    return {};
  }
  void remove_visitor(std::uint32_t table, const IpAddress& visitor) override {
    EXPECT_EQ(there.erase({table, visitor}), 1u) << visitor.text();
  }
  std::set<std::pair<std::uint32_t, IpAddress>> there;
  bool refuse = false;
};

IpAddress visitor(std::size_t n) {
  return IpAddress::v4(10, static_cast<std::uint8_t>(n >> 16), static_cast<std::uint8_t>(n >> 8),
                       static_cast<std::uint8_t>(n));
}

class VisitorHoldsTest : public testing::Test {
 protected:
  VisitorHolds::Entry& hold(std::uint32_t table, const IpAddress& ip) {
    auto held = holds_.hold(table, ip, IpAddress::loopback4());
    EXPECT_TRUE(held);
    return **held;
  }
  Instant at(Duration d) { return Instant{} + d; }

  FakeRoutes routes_;
  Metrics metrics_;
  VisitorHolds holds_{routes_, metrics_};
};

TEST_F(VisitorHoldsTest, OneRouteForAllConnectionsOfAVisitor) {
  auto& first = hold(1, visitor(1));
  auto& second = hold(1, visitor(1));
  EXPECT_EQ(&first, &second);
  hold(2, visitor(1));
  EXPECT_EQ(routes_.there.size(), 2u);
  EXPECT_EQ(metrics_.gauge("adit_agent_foreign_visitors").value(), 2);
}

TEST_F(VisitorHoldsTest, ARouteStaysForWhatTheKernelStillHasToSay) {
  auto& entry = hold(1, visitor(1));
  hold(1, visitor(1));
  holds_.release(entry, io::Transport::Tcp, at(1s));
  EXPECT_EQ(holds_.expire(at(1h)), Instant::never()) << "it is in use";
  holds_.release(entry, io::Transport::Tcp, at(1h));
  EXPECT_EQ(holds_.expire(at(1h)), at(1h + kForeignVisitorLinger));
  EXPECT_EQ(holds_.expire(at(1h + kForeignVisitorLinger - 1ms)), at(1h + kForeignVisitorLinger));
  EXPECT_EQ(routes_.there.size(), 1u);
  EXPECT_EQ(holds_.expire(at(1h + kForeignVisitorLinger)), Instant::never());
  EXPECT_TRUE(routes_.there.empty());
  EXPECT_EQ(metrics_.gauge("adit_agent_foreign_visitors").value(), 0);
}

TEST_F(VisitorHoldsTest, WhoComesBackKeepsIt) {
  holds_.release(hold(1, visitor(1)), io::Transport::Tcp, at(1s));
  auto& again = hold(1, visitor(1));
  EXPECT_EQ(holds_.expire(at(1h)), Instant::never());
  EXPECT_EQ(routes_.there.size(), 1u);
  holds_.release(again, io::Transport::Tcp, at(1h));
  EXPECT_EQ(holds_.expire(at(2h)), Instant::never());
  EXPECT_TRUE(routes_.there.empty());
}

TEST_F(VisitorHoldsTest, TheKernelsRefusalIsTheVisitors) {
  routes_.refuse = true;
  auto held = holds_.hold(1, visitor(1), IpAddress::loopback4());
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, EPERM);
  EXPECT_EQ(holds_.size(), 0u);
}

TEST_F(VisitorHoldsTest, TheLongestUnusedGivesWay) {
  for (std::size_t i = 0; i < limits::kForeignVisitorsMax; ++i) hold(1, visitor(i));
  auto refused = holds_.hold(1, visitor(limits::kForeignVisitorsMax), IpAddress::loopback4());
  ASSERT_FALSE(refused) << "all are in use";
  EXPECT_EQ(refused.error().code, ENOSPC);
  for (const std::size_t n : {7, 8}) {
    auto& entry = hold(1, visitor(n));
    for (int i = 0; i < 2; ++i) holds_.release(entry, io::Transport::Tcp, at(1s));
  }
  hold(1, visitor(limits::kForeignVisitorsMax));
  EXPECT_FALSE(routes_.there.contains({1, visitor(7)}));
  EXPECT_TRUE(routes_.there.contains({1, visitor(8)}));
  EXPECT_EQ(holds_.size(), limits::kForeignVisitorsMax);
}

// Somebody may have written another's address on a datagram, and nothing follows its socket's end.
TEST_F(VisitorHoldsTest, OfUdpNothingLingers) {
  auto& entry = hold(1, visitor(1));
  hold(1, visitor(1));
  holds_.release(entry, io::Transport::Udp, at(1s));
  EXPECT_EQ(routes_.there.size(), 1u);
  holds_.release(entry, io::Transport::Udp, at(1s));
  EXPECT_TRUE(routes_.there.empty());
  EXPECT_EQ(holds_.size(), 0u);
}

TEST_F(VisitorHoldsTest, ManyAreGivenUpLittleByLittle) {
  for (std::size_t i = 0; i < 200; ++i)
    holds_.release(hold(1, visitor(i)), io::Transport::Tcp, at(0s));
  const Instant over = at(kForeignVisitorLinger);
  const Instant next = holds_.expire(over);
  EXPECT_GT(next, over);
  EXPECT_LT(next, over + 1s);
  EXPECT_GE(routes_.there.size(), 100u);
  Instant now = next;
  while (now != Instant::never()) now = holds_.expire(now);
  EXPECT_TRUE(routes_.there.empty());
}

}  // namespace
}  // namespace adit::service
