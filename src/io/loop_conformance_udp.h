// LoopConformance: datagrams.
#pragma once

#include <algorithm>

#include "io/loop_conformance.h"

namespace adit::io {

// Collects datagrams, coalesced ones cut apart again.
class Inbox {
 public:
  struct Item {
    Address peer, local;
    std::uint8_t ecn;
    ByteVector bytes;
  };
  Inbox(Loop& loop, const Socket& socket) { loop.receive_datagrams(op, socket); }
  Op op{Op::Handler::to<&Inbox::on_datagrams>(this)};
  std::vector<Item> items;
  std::vector<int> errors;

 private:
  void on_datagrams(const Completion& c) {
    if (!c.more) return errors.push_back(c.result);
    EXPECT_EQ(static_cast<std::size_t>(c.result), c.data.size());
    const std::size_t step = c.segment_bytes != 0 ? c.segment_bytes : c.data.size();
    std::size_t at = 0;
    do {
      const Bytes one = c.data.subspan(at, std::min(step, c.data.size() - at));
      items.push_back({c.peer, c.local, c.ecn, {one.begin(), one.end()}});
      at += step;
    } while (at < c.data.size());
  }
};

TEST_P(LoopConformance, DatagramsCarryAddresses) {
  for (const IpAddress& ip : {IpAddress::loopback4(), *IpAddress::parse("::1")}) {
    Socket a = udp({ip, 0}), b = udp({ip, 0});
    Inbox at_a(*loop_, a), at_b(*loop_, b);
    const ByteVector hello = pattern(100);
    const auto sent =
        loop_->send_datagrams(a, {.to = loop_->local_address(b), .from = {}, .bytes = hello});
    ASSERT_TRUE(sent) << sent.error().what;
    EXPECT_EQ(*sent, 100u);
    ASSERT_TRUE(until([&] { return at_b.items.size() == 1; }));
    EXPECT_EQ(at_b.items[0].peer, loop_->local_address(a));
    EXPECT_EQ(at_b.items[0].local, loop_->local_address(b));
    EXPECT_TRUE(at_b.items[0].bytes == hello);
    ASSERT_TRUE(loop_->send_datagrams(b, {.to = at_b.items[0].peer, .from = {}, .bytes = hello}));
    ASSERT_TRUE(until([&] { return at_a.items.size() == 1; }));
  }
}

// A wildcard socket answers from the address that it was asked at.
TEST_P(LoopConformance, SourceAddressIsTheOneAsked) {
  if (!loop_->real_descriptors()) GTEST_SKIP() << "the kernel's choice of a source address";
  for (const IpAddress& any : {IpAddress::any4(), IpAddress::any6()}) {
    Socket server = udp({any, 0});
    Socket client = udp();
    Inbox at_server(*loop_, server), at_client(*loop_, client);
    const Address asked{IpAddress::v4(127, 0, 0, 7), loop_->local_address(server).port};
    const ByteVector hello = pattern(10);
    ASSERT_TRUE(loop_->send_datagrams(client, {.to = asked, .from = {}, .bytes = hello}));
    ASSERT_TRUE(until([&] { return at_server.items.size() == 1; }));
    EXPECT_EQ(at_server.items[0].local, asked);
    EXPECT_EQ(at_server.items[0].peer, loop_->local_address(client));
    ASSERT_TRUE(loop_->send_datagrams(server, {.to = at_server.items[0].peer,
                                               .from = at_server.items[0].local,
                                               .bytes = hello}));
    ASSERT_TRUE(until([&] { return at_client.items.size() == 1; }));
    EXPECT_EQ(at_client.items[0].peer, asked);
  }
}

TEST_P(LoopConformance, EcnIsCarried) {
  for (const IpAddress& ip : {IpAddress::loopback4(), *IpAddress::parse("::1")}) {
    Socket a = udp({ip, 0}), b = udp({ip, 0});
    Inbox at_b(*loop_, b);
    const ByteVector hello = pattern(10);
    for (std::uint8_t ecn = 0; ecn < 4; ++ecn) {
      ASSERT_TRUE(loop_->send_datagrams(
          a, {.to = loop_->local_address(b), .from = {}, .bytes = hello, .ecn = ecn}));
      ASSERT_TRUE(until([&] { return at_b.items.size() == ecn + 1u; }));
      EXPECT_EQ(at_b.items.back().ecn, ecn);
    }
  }
}

TEST_P(LoopConformance, BatchesArriveAsTheirDatagrams) {
  struct Case {
    std::size_t bytes, segment;
  };
  for (const Case& c :
       {Case{1200 * 20 + 100, 1200}, Case{1200 * 150, 1200}, Case{300 * 130 + 1, 300},
        Case{500, 1200}, Case{1200, 1200}, Case{9000, 0}}) {
    Socket a = udp(), b = udp();
    Inbox at_b(*loop_, b);
    const ByteVector all = pattern(c.bytes);
    const auto sent = loop_->send_datagrams(
        a, {.to = loop_->local_address(b), .from = {}, .bytes = all, .segment_bytes = c.segment});
    ASSERT_TRUE(sent) << sent.error().what;
    ASSERT_EQ(*sent, c.bytes);
    const std::size_t step = c.segment == 0 ? c.bytes : c.segment;
    const std::size_t count = (c.bytes + step - 1) / step;
    ASSERT_TRUE(until([&] { return at_b.items.size() >= count; })) << at_b.items.size();
    ASSERT_EQ(at_b.items.size(), count);
    ByteVector joined;
    for (const Inbox::Item& i : at_b.items) {
      EXPECT_LE(i.bytes.size(), step);
      joined.insert(joined.end(), i.bytes.begin(), i.bytes.end());
    }
    EXPECT_TRUE(joined == all);
  }
}

// More than there are buffers, before the loop turns.
TEST_P(LoopConformance, ABurstOfDatagramsIsReceivedWhole) {
  constexpr std::size_t kCount = 500;
  Socket a = udp(), b = udp();
  Inbox at_b(*loop_, b);
  quiet(1ms);
  for (std::size_t i = 0; i < kCount; ++i) {
    // Different sizes do not coalesce.
    const ByteVector bytes = pattern(100 + i % 7, static_cast<std::uint32_t>(i));
    const auto sent =
        loop_->send_datagrams(a, {.to = loop_->local_address(b), .from = {}, .bytes = bytes});
    ASSERT_TRUE(sent && *sent == bytes.size());
  }
  ASSERT_TRUE(until([&] { return at_b.items.size() == kCount; })) << at_b.items.size();
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_TRUE(at_b.items[i].bytes == pattern(100 + i % 7, static_cast<std::uint32_t>(i))) << i;
  }
  EXPECT_TRUE(at_b.errors.empty());
}

TEST_P(LoopConformance, AnEmptyDatagramEndsNothing) {
  Socket a = udp(), b = udp();
  Inbox at_b(*loop_, b);
  for (int i = 0; i < 3; ++i) {
    const ByteVector full = pattern(10);
    const Address to = loop_->local_address(b);
    ASSERT_TRUE(loop_->send_datagrams(a, {.to = to, .from = {}, .bytes = {}}));
    ASSERT_TRUE(loop_->send_datagrams(a, {.to = to, .from = {}, .bytes = full}));
  }
  ASSERT_TRUE(until([&] { return at_b.items.size() == 6; }));
  EXPECT_TRUE(at_b.errors.empty());
  EXPECT_TRUE(at_b.items[0].bytes.empty());
  EXPECT_EQ(at_b.items[5].bytes.size(), 10u);
}

TEST_P(LoopConformance, AConnectedSocketHearsItsPeerOnly) {
  Socket a = udp(), b = udp(), stranger = udp();
  ASSERT_TRUE(loop_->connect_udp(b, loop_->local_address(a)));
  EXPECT_EQ(loop_->peer_address(b), loop_->local_address(a));
  Inbox at_a(*loop_, a), at_b(*loop_, b);
  const ByteVector one = pattern(10, 1), two = pattern(20, 2);
  const Address to = loop_->local_address(b);
  ASSERT_TRUE(loop_->send_datagrams(stranger, {.to = to, .from = {}, .bytes = one}));
  ASSERT_TRUE(loop_->send_datagrams(a, {.to = to, .from = {}, .bytes = two}));
  ASSERT_TRUE(loop_->send_datagrams(b, {.to = {}, .from = {}, .bytes = one, .ecn = 1}));
  ASSERT_TRUE(until([&] { return !at_b.items.empty() && !at_a.items.empty(); }));
  quiet();
  ASSERT_EQ(at_b.items.size(), 1u);
  EXPECT_TRUE(at_b.items[0].bytes == two);
  EXPECT_EQ(at_a.items[0].peer, loop_->local_address(b));
  EXPECT_EQ(at_a.items[0].ecn, 1);
}

TEST_P(LoopConformance, ADatagramBeyondTheLimitIsAnError) {
  Socket a = udp(), b = udp();
  const ByteVector huge(70'000);
  const auto sent =
      loop_->send_datagrams(a, {.to = loop_->local_address(b), .from = {}, .bytes = huge});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, EMSGSIZE);
}

}  // namespace adit::io
