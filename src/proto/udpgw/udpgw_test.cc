#include <gtest/gtest.h>

#include "base/address.h"
#include "proto/udpgw/frames.h"
#include "proto/udpgw/gateway.h"

namespace adit::udpgw {
namespace {

const ByteVector kKeepalive42 = {0x00, 0x03, 0x01, 0x00, 0x2a};
const ByteVector kError99 = {0x00, 0x03, 0x20, 0x00, 0x63};
const ByteVector kData7 = {0x00, 0x0c, 0x02, 0x00, 0x07, 0x01, 0x08,
                           0x08, 0x08, 0x08, 0x13, 0x88, 0xab, 0xcd};
const Target kPlace = {Target::Kind::V4, std::string(4, '\x08'), 5000};

ByteVector joined(std::initializer_list<ByteVector> parts) {
  ByteVector out;
  for (const ByteVector& p : parts) out.insert(out.end(), p.begin(), p.end());
  return out;
}

ByteVector data(std::uint16_t id, const Target& target, std::string_view datagram) {
  ByteVector out;
  write_data(out, id, target, as_bytes(datagram));
  return out;
}

std::string text_of(const Target& target) {
  return HostPort{target.host(), target.port}.text();
}

// What a reader makes of bytes: one word a frame.
std::string words(Bytes in, std::size_t piece, std::uint64_t* skipped = nullptr) {
  FrameReader reader;
  std::string out;
  for (std::size_t at = 0; at < in.size(); at += piece) {
    Bytes part = in.subspan(at, std::min(piece, in.size() - at));
    while (const auto frame = reader.read(part)) {
      out += std::to_string(frame->flags) + ":" + std::to_string(frame->id);
      if (frame->target)
        out += "=" + text_of(*frame->target) + "(" + std::string(as_text(frame->datagram)) + ")";
      out += " ";
    }
    EXPECT_TRUE(part.empty());
  }
  if (skipped != nullptr) *skipped = reader.skipped();
  return out;
}

TEST(UdpgwFrames, VectorsToTheByte) {
  ByteVector out;
  write_plain(out, kKeepalive, 42);
  EXPECT_EQ(out, kKeepalive42);
  out.clear();
  write_plain(out, kError, 99);
  EXPECT_EQ(out, kError99);
  EXPECT_EQ(data(7, kPlace, "\xab\xcd"), kData7);
  const Target name{Target::Kind::Name, "a.example", 0x1234};
  EXPECT_EQ(data(0x0102, name, "x"),
            joined({{0, 17, 2, 1, 2, 3, 9}, {'a', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e'},
                    {0x12, 0x34, 'x'}}));
  const Target v6{Target::Kind::V6, std::string(15, '\0') + "\x01", 80};
  EXPECT_EQ(data(1, v6, ""), joined({{0, 22, 2, 0, 1, 4}, ByteVector(15, 0), {1, 0, 80}}));
  EXPECT_EQ(data(1, kPlace, std::string(70'000, 'x')).size(), 2u + 65'535u);
}

TEST(UdpgwFrames, HoweverTheyAreCut) {
  const Target name{Target::Kind::Name, "a.example", 5000};
  const Target v6{Target::Kind::V6, std::string("\x20\x01\x0d\xb8", 4) + std::string(12, '\0'), 1};
  const ByteVector stream =
      joined({kKeepalive42, data(7, kPlace, "one"), {0, 2, 1, 0},           // LEN 2: too short
              data(8, name, ""), {0, 4, 2, 0, 9, 2},                       // an unknown kind
              {0, 0}, kError99, {0, 7, 2, 0, 9, 1, 1, 2, 3},               // a cut address
              {0, 6, 2, 0, 9, 3, 9, 'a'},                                  // a cut name
              data(9, v6, "three"), {0, 3, 0, 0, 5}, {0, 5, 3, 0, 6, 'z', 'z'}, kKeepalive42});
  const std::string expected =
      "1:42 2:7=8.8.8.8:5000(one) 2:8=a.example:5000() 32:99 2:9=[2001:db8::]:1(three) 0:5 3:6 "
      "1:42 ";
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    std::uint64_t skipped = 0;
    EXPECT_EQ(words(stream, piece, &skipped), expected) << piece;
    EXPECT_EQ(skipped, 5u) << piece;
  }
  // Two pieces, at every place.
  for (std::size_t at = 0; at <= stream.size(); ++at) {
    FrameReader reader;
    std::size_t frames = 0;
    for (Bytes part : {Bytes(stream).first(at), Bytes(stream).subspan(at)})
      while (reader.read(part)) ++frames;
    EXPECT_EQ(frames, 8u) << at;
  }
}

TEST(UdpgwFrames, HoldsOneFrameAtMost) {
  FrameReader reader;
  ByteVector stream = {0xff, 0xff};
  stream.resize(2 + 0xffff - 1, 0);
  Bytes in(stream);
  EXPECT_FALSE(reader.read(in));
  EXPECT_EQ(reader.held(), stream.size());
  const ByteVector last = joined({{0}, kKeepalive42});
  in = last;
  auto frame = reader.read(in);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->flags, 0);
  frame = reader.read(in);
  ASSERT_TRUE(frame && frame->flags == kKeepalive);
  EXPECT_FALSE(reader.read(in));
  EXPECT_EQ(reader.held(), 0u);
}

// --- the gateway ---

std::string text_of(const std::vector<Event>& events) {
  std::string out;
  for (const Event& e : events) {
    if (const auto* o = std::get_if<Open>(&e))
      out += "open" + std::to_string(o->flow) + "=" + text_of(o->target);
    if (const auto* s = std::get_if<Send>(&e))
      out += "send" + std::to_string(s->flow) + "(" + std::string(as_text(s->datagram)) + ")";
    if (const auto* c = std::get_if<Close>(&e)) out += "close" + std::to_string(c->flow);
    out += " ";
  }
  return out;
}

ByteVector output_of(Gateway& gateway) {
  ByteVector out;
  while (!gateway.output().empty()) {
    const Bytes run = gateway.output();
    const std::size_t n = (run.size() + 1) / 2;  // taken in pieces
    out.insert(out.end(), run.begin(), run.begin() + static_cast<std::ptrdiff_t>(n));
    gateway.consume_output(n);
  }
  return out;
}

constexpr Instant at(int seconds) { return Instant{seconds * 1'000'000'000ll}; }

TEST(Udpgw, AnswersKeepalivesAndRefusesPorts) {
  Gateway gateway;
  const Target quic{Target::Kind::V4, kPlace.address, 443};
  const Target dns{Target::Kind::V4, kPlace.address, 53};
  gateway.feed(kKeepalive42, at(0));
  gateway.feed(joined({{0, 3, 0x23, 0, 42}}), at(0));  // other bits beside it
  gateway.feed(data(99, quic, "x"), at(0));
  gateway.feed(data(99, dns, "x"), at(0));
  gateway.feed(kError99, at(0));                       // neither of the two: ignored
  gateway.feed(joined({{0, 3, 0, 0, 1}}), at(0));
  EXPECT_EQ(output_of(gateway), joined({kKeepalive42, kKeepalive42, kError99, kError99}));
  EXPECT_EQ(text_of(gateway.take_events()), "");
  EXPECT_EQ(gateway.flows(), 0u);
}

TEST(Udpgw, DatagramsThereAndBack) {
  Gateway gateway;
  const Target name{Target::Kind::Name, "a.example", 5000};
  gateway.feed(joined({data(7, kPlace, "a"), data(7, kPlace, ""), data(8, name, "b")}), at(0));
  EXPECT_EQ(text_of(gateway.take_events()), "open1=8.8.8.8:5000 open2=a.example:5000 ");
  gateway.opened(1);
  EXPECT_EQ(text_of(gateway.take_events()), "send1(a) send1() ");
  gateway.feed(data(7, kPlace, "c"), at(1));
  EXPECT_EQ(text_of(gateway.take_events()), "send1(c) ");
  gateway.received(1, as_bytes("\xab\xcd"), at(1));
  gateway.opened(2);
  gateway.received(2, as_bytes("B"), at(1));  // the name as it was written, not its address
  EXPECT_EQ(output_of(gateway), joined({kData7, data(8, name, "B")}));
  // Cut, as clients take no more.
  gateway.received(2, ByteVector(20'000, 'x'), at(1));
  EXPECT_EQ(output_of(gateway), data(8, name, std::string(10'240, 'x')));
}

TEST(Udpgw, WhatFailsIsSaidOnceAndMayBeTriedAgain) {
  Gateway gateway;
  gateway.feed(data(99, kPlace, "a"), at(0));
  gateway.failed(1);
  gateway.failed(1);
  gateway.opened(1);
  gateway.received(1, as_bytes("late"), at(0));
  EXPECT_EQ(output_of(gateway), kError99);
  EXPECT_EQ(text_of(gateway.take_events()), "open1=8.8.8.8:5000 ");
  gateway.feed(data(99, kPlace, "a"), at(0));
  EXPECT_EQ(text_of(gateway.take_events()), "open2=8.8.8.8:5000 ");
}

TEST(Udpgw, ANumberThatIsUsedAgainEndsTheFlowBefore) {
  Gateway gateway;
  const Target other{Target::Kind::V4, kPlace.address, 5001};
  gateway.feed(data(7, kPlace, "a"), at(0));
  gateway.opened(1);
  gateway.take_events();
  gateway.received(1, as_bytes("begun"), at(0));
  gateway.received(1, as_bytes("waits"), at(0));
  gateway.feed(kKeepalive42, at(0));
  ByteVector got;
  got.insert(got.end(), gateway.output().begin(), gateway.output().begin() + 4);
  gateway.consume_output(4);
  gateway.feed(data(7, other, "b"), at(0));
  EXPECT_EQ(text_of(gateway.take_events()), "close1 open2=8.8.8.8:5001 ");
  gateway.received(1, as_bytes("late"), at(0));
  gateway.opened(2);
  gateway.received(2, as_bytes("new"), at(0));
  const ByteVector rest = output_of(gateway);
  got.insert(got.end(), rest.begin(), rest.end());
  // Nothing of the old but what had begun.
  EXPECT_EQ(got, joined({data(7, kPlace, "begun"), kKeepalive42, data(7, other, "new")}));
}

TEST(Udpgw, FlowsAreBoundedAndIdleOnesEnd) {
  Settings settings;
  settings.flows_max = 2;
  settings.idle = 60s;
  Gateway gateway(settings);
  EXPECT_EQ(gateway.next_expiry(), Instant::never());
  gateway.feed(data(1, kPlace, "a"), at(0));
  gateway.feed(data(2, kPlace, "b"), at(10));
  gateway.feed(data(1, kPlace, "c"), at(20));
  gateway.take_events();
  gateway.feed(data(3, kPlace, "d"), at(30));  // 2 is the least recently used
  EXPECT_EQ(text_of(gateway.take_events()), "close2 open3=8.8.8.8:5000 ");
  EXPECT_EQ(gateway.flows(), 2u);
  EXPECT_EQ(gateway.next_expiry(), at(80));
  gateway.received(1, as_bytes("answer"), at(50));  // counts as use
  EXPECT_EQ(gateway.next_expiry(), at(90));
  gateway.expire(at(89));
  EXPECT_EQ(text_of(gateway.take_events()), "");
  gateway.expire(at(90));
  EXPECT_EQ(text_of(gateway.take_events()), "close3 ");
  gateway.expire(at(200));
  EXPECT_EQ(text_of(gateway.take_events()), "close1 ");
  EXPECT_EQ(gateway.flows(), 0u);
}

TEST(Udpgw, QueuesAreBounded) {
  Gateway gateway;
  for (int i = 0; i < 40; ++i) gateway.feed(data(7, kPlace, std::to_string(i)), at(0));
  gateway.take_events();
  gateway.opened(1);
  const auto early = gateway.take_events();
  ASSERT_EQ(early.size(), limits::kEarlyDatagramsMax);  // the newest
  EXPECT_EQ(as_text(std::get<Send>(early.back()).datagram), "39");
  for (std::size_t i = 0; i < limits::kUdpgwQueueFramesMax + 10; ++i)
    gateway.received(1, as_bytes("x"), at(0));
  EXPECT_EQ(gateway.dropped(), 10u);
  EXPECT_EQ(output_of(gateway).size(),
            limits::kUdpgwQueueFramesMax * data(7, kPlace, "x").size());
}

}  // namespace
}  // namespace adit::udpgw
