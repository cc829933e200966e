#include "service/tunnel/client_place.h"

#include <gtest/gtest.h>

namespace adit::service {
namespace {

Address port(std::uint16_t n) { return {IpAddress::loopback4(), n}; }

struct Driver {
  ClientPlace place{port(1)};
  Instant now = Instant{} + 1h;

  bool first(std::uint16_t n) { return place.hear(port(n), false, true, now); }
  bool again(std::uint16_t n) { return place.hear(port(n), true, true, now); }
};

TEST(ClientPlace, FollowsShortHeadersToNewAddresses) {
  Driver d;
  EXPECT_TRUE(d.first(2));
  EXPECT_EQ(d.place.at(), port(2));
  EXPECT_FALSE(d.first(2));
  EXPECT_FALSE(d.place.hear(port(3), false, /*moves=*/false, d.now));
  EXPECT_EQ(d.place.at(), port(2));
}

TEST(ClientPlace, WhatWasHeldBackIsNoWayBack) {
  Driver d;
  d.first(2);
  d.now = d.now + 10ms;
  EXPECT_FALSE(d.again(1));
  d.now = d.now + 10ms;
  EXPECT_FALSE(d.again(2));
  d.now = d.now + 300ms;
  EXPECT_FALSE(d.place.also(d.now));  // heard since
  EXPECT_EQ(d.place.at(), port(2));
}

TEST(ClientPlace, AnOldAddressIsTakenAgainOnceTheMoveIsSettled) {
  Driver d;
  d.first(2);
  d.now = d.now + ClientPlace::kSettled;
  EXPECT_TRUE(d.again(1));
}

// The NAT gave the same port twice, and the client waits for a download: it had sent one datagram.
TEST(ClientPlace, AnswersGoToBothWhereOnlyTheAddressThatWasLeftIsHeard) {
  Driver d;
  d.first(2);
  d.now = d.now + 50ms;
  EXPECT_FALSE(d.again(1));
  EXPECT_FALSE(d.place.also(d.now));
  d.now = d.now + ClientPlace::kInDoubt;
  EXPECT_EQ(d.place.also(d.now), port(1));
  EXPECT_EQ(d.place.at(), port(2));
  EXPECT_TRUE(d.again(1));  // an answer has reached it there
  EXPECT_FALSE(d.place.also(d.now));
}

// Each late datagram from somewhere else begins anew: none of them is proof.
TEST(ClientPlace, DoubtIsOfOneAddress) {
  Driver d;
  d.first(2);
  d.first(3);
  d.now = d.now + 10ms;
  EXPECT_FALSE(d.again(1));
  d.now = d.now + 150ms;
  EXPECT_FALSE(d.again(2));
  d.now = d.now + 100ms;
  EXPECT_FALSE(d.place.also(d.now));
  EXPECT_FALSE(d.again(2));
  EXPECT_EQ(d.place.at(), port(3));
}

}  // namespace
}  // namespace adit::service
