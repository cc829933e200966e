#include "proto/node/poll_order.h"

#include <gtest/gtest.h>

namespace adit::node {
namespace {

using Arrival = PollOrder::Arrival;

PollOrder::Answer answer(std::uint64_t seq, std::uint64_t begin, std::uint64_t end,
                         Instant at = Instant{1}) {
  return {seq, begin, end, false, at};
}

TEST(NodePollOrder, BytesGoToTheLowestNumberThatIsOpen) {
  PollOrder order;
  const Instant now{1};
  EXPECT_EQ(order.arrive(1), Arrival::Fresh);
  EXPECT_FALSE(order.may_take(1, now));
  EXPECT_EQ(order.arrive(0), Arrival::Fresh);
  EXPECT_TRUE(order.may_take(0, now));
  EXPECT_FALSE(order.may_take(1, now));
  order.answer(answer(0, 0, 10));
  EXPECT_TRUE(order.may_take(1, now));
  // Answered out of turn, and empty: no bytes before it any more.
  EXPECT_EQ(order.arrive(3), Arrival::Fresh);
  order.answer(answer(3, 10, 10));
  order.answer(answer(1, 10, 20));
  EXPECT_EQ(order.arrive(2), Arrival::Fresh);
  EXPECT_TRUE(order.may_take(2, now));
  order.answer(answer(2, 20, 30));
  EXPECT_EQ(order.arrive(4), Arrival::Fresh);
  EXPECT_TRUE(order.may_take(4, now));
}

TEST(NodePollOrder, WhatWasAnsweredCanBeAskedAgain) {
  PollOrder order;
  EXPECT_EQ(order.arrive(0), Arrival::Fresh);
  EXPECT_EQ(order.arrive(0), Arrival::Twin);
  order.withdraw(0);
  EXPECT_EQ(order.arrive(0), Arrival::Fresh);
  order.answer(answer(0, 5, 9));
  EXPECT_EQ(order.arrive(0), Arrival::Again);
  ASSERT_NE(order.find(0), nullptr);
  EXPECT_EQ(order.find(0)->begin, 5u);
  EXPECT_EQ(order.find(0)->end, 9u);
  EXPECT_EQ(order.kept_bytes(), 4u);
  EXPECT_EQ(order.kept_from(9), 5u);
  order.forget(Instant{2}, SIZE_MAX);
  EXPECT_EQ(order.arrive(0), Arrival::Past);
  EXPECT_EQ(order.kept_from(9), 9u);
  EXPECT_EQ(order.kept_bytes(), 0u);
}

TEST(NodePollOrder, KeepsNoMoreThanItMay) {
  PollOrder order;
  for (std::uint64_t i = 0; i < 2 * limits::kNodeAnswersMax; ++i) {
    ASSERT_EQ(order.arrive(i), Arrival::Fresh);
    order.answer(answer(i, i * 10, i * 10 + 10));
  }
  EXPECT_EQ(order.kept_bytes(), limits::kNodeAnswersMax * 10);
  order.forget(Instant{}, 35);
  EXPECT_EQ(order.kept_bytes(), 30u);
  EXPECT_EQ(order.arrive(1), Arrival::Past);
}

TEST(NodePollOrder, APollThatDoesNotComeIsGivenUp) {
  PollOrder order;
  const Instant now{1};
  EXPECT_EQ(order.arrive(2), Arrival::Fresh);
  EXPECT_EQ(order.arrive(4), Arrival::Fresh);
  EXPECT_FALSE(order.may_take(2, now));
  EXPECT_FALSE(order.may_take(2, now + (limits::kNodeMissingPoll - 1ns)));
  EXPECT_FALSE(order.may_take(4, now + limits::kNodeMissingPoll));
  EXPECT_TRUE(order.may_take(2, now + limits::kNodeMissingPoll));
  EXPECT_EQ(order.arrive(1), Arrival::Past);
}

TEST(NodePollOrder, AnyNumberMayBeTheFirst) {
  PollOrder order;
  EXPECT_EQ(order.arrive(1'000'000), Arrival::Fresh);
  EXPECT_TRUE(order.may_take(1'000'000, Instant{1}));
}

TEST(NodePollOrder, AFloodOfNumbersIsBounded) {
  PollOrder order;
  for (std::uint64_t i = 0; i < limits::kNodeAnswersMax; ++i)
    ASSERT_EQ(order.arrive(2 + i * 7 % limits::kNodeAnswersMax), Arrival::Fresh);
  EXPECT_EQ(order.arrive(limits::kNodeAnswersMax * 2), Arrival::TooMany);
}

}  // namespace
}  // namespace adit::node
