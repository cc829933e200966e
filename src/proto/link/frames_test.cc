#include "proto/link/frames.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/limits.h"

namespace adit::link {
namespace {

ByteVector frame_bytes(std::uint64_t type, Bytes body) {
  ByteVector out;
  Writer w(out);
  w.varint(type);
  w.varint(body.size());
  w.bytes(body);
  return out;
}

void append(ByteVector& to, Bytes more) { to.insert(to.end(), more.begin(), more.end()); }

// Everything that comes of `in` when it is fed in pieces of `piece` bytes.
Result<std::vector<Frame>> feed_all(Bytes in, std::size_t piece) {
  FrameReader reader;
  std::vector<Frame> all;
  for (std::size_t at = 0; at < in.size(); at += piece) {
    auto frames = reader.feed(in.subspan(at, std::min(piece, in.size() - at)));
    if (!frames) return std::move(frames).error();
    for (Frame& f : *frames) all.push_back(std::move(f));
  }
  return all;
}

// --- frames ---

TEST(LinkFrames, EveryFragmentation) {
  ByteVector in;
  const ByteVector large(300, 7);
  write_frame(in, FrameType::Hello, as_bytes("{}"));
  write_frame(in, FrameType::Probe, large);
  append(in, frame_bytes(0x3fff, as_bytes("from a newer peer")));
  write_frame(in, FrameType::Goaway, {});
  for (std::size_t piece = 1; piece <= in.size(); ++piece) {
    auto frames = feed_all(in, piece);
    ASSERT_TRUE(frames) << piece;
    ASSERT_EQ(frames->size(), 4u) << piece;
    EXPECT_EQ((*frames)[0].type, 1u);
    EXPECT_EQ(as_text((*frames)[0].body), "{}");
    EXPECT_EQ((*frames)[1].body, large);
    EXPECT_EQ((*frames)[2].type, 0x3fffu);  // for the caller to skip
    EXPECT_EQ(as_text((*frames)[2].body), "from a newer peer");
    EXPECT_TRUE((*frames)[3].body.empty());
  }
}

TEST(LinkFrames, EverySplitInTwo) {
  ByteVector in;
  write_ack(in, {{StreamNumber{70}, 20'000}, {StreamNumber{1}, 3}});
  write_reset(in, {StreamNumber{5}, ResetCode::Idle});
  for (std::size_t at = 0; at <= in.size(); ++at) {
    FrameReader reader;
    auto first = reader.feed(Bytes(in).first(at));
    auto second = reader.feed(Bytes(in).subspan(at));
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->size() + second->size(), 2u) << at;
  }
}

TEST(LinkFrames, NothingBeforeTheFrameIsWhole) {
  const ByteVector in = frame_bytes(9, ByteVector(100, 1));
  for (std::size_t n = 0; n < in.size(); ++n) {
    FrameReader reader;
    auto frames = reader.feed(Bytes(in).first(n));
    ASSERT_TRUE(frames);
    EXPECT_TRUE(frames->empty()) << n;
  }
}

TEST(LinkFrames, LengthsAndTheirForms) {
  struct Case {
    const char* what;
    ByteVector in;
    bool good;
    std::size_t frames;
  };
  ByteVector largest = frame_bytes(3, ByteVector(limits::kControlFrameBytesMax, 0xaa));
  const Case cases[] = {
      {"empty body", {0x07, 0x00}, true, 1},
      {"type and length not minimal", {0x40, 0x07, 0x80, 0, 0, 1, 0xff}, true, 1},
      {"largest", largest, true, 1},
      {"one over, announced only", {0x07, 0x80, 0x01, 0x00, 0x01}, false, 0},
      {"2^62 - 1", {0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false, 0},
      {"a good one before it", {0x07, 0x00, 0x07, 0x80, 0x01, 0x00, 0x01}, false, 0},
      {"length cut", {0x07, 0x80, 0x01}, true, 0},
      {"type cut", {0xc0, 0, 0}, true, 0},
      {"type of 62 bits", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00}, true, 1},
  };
  for (const Case& c : cases) {
    FrameReader reader;
    auto frames = reader.feed(c.in);
    EXPECT_EQ(static_cast<bool>(frames), c.good) << c.what;
    if (!frames) continue;
    EXPECT_EQ(frames->size(), c.frames) << c.what;
  }
}

// --- ACK and RESET ---

TEST(LinkFrames, AckRoundTrip) {
  const std::vector<AckEntry> entries = {
      {StreamNumber{1}, 0}, {StreamNumber{kVarintMax}, kVarintMax}, {StreamNumber{64}, 16384}};
  ByteVector out;
  write_ack(out, entries);
  FrameReader reader;
  auto frames = reader.feed(out);
  ASSERT_TRUE(frames);
  ASSERT_EQ(frames->size(), 1u);
  EXPECT_EQ(frames->front().type, static_cast<std::uint64_t>(FrameType::Ack));
  auto parsed = parse_ack(frames->front().body);
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->size(), entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ((*parsed)[i].stream, entries[i].stream);
    EXPECT_EQ((*parsed)[i].handed, entries[i].handed);
  }
}

TEST(LinkFrames, AckFaults) {
  EXPECT_FALSE(parse_ack({}));
  EXPECT_FALSE(parse_ack(ByteVector{1}));               // no offset
  EXPECT_FALSE(parse_ack(ByteVector{1, 0x40}));         // half of one
  EXPECT_FALSE(parse_ack(ByteVector{1, 2, 3}));         // an odd number
  EXPECT_FALSE(parse_ack(ByteVector{1, 2, 3, 0xc0, 0}));
  EXPECT_TRUE(parse_ack(ByteVector{1, 2, 1, 3}));       // twice the same: cumulative
}

TEST(LinkFrames, ResetTable) {
  for (ResetCode code : {ResetCode::Cancelled, ResetCode::ServiceRefused, ResetCode::UnknownService,
                         ResetCode::Overloaded, ResetCode::Protocol, ResetCode::Lost,
                         ResetCode::Idle, static_cast<ResetCode>(kVarintMax)}) {
    ByteVector out;
    write_reset(out, {StreamNumber{300}, code});
    FrameReader reader;
    auto frames = reader.feed(out);
    ASSERT_TRUE(frames);
    auto parsed = parse_reset(frames->front().body);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->stream, StreamNumber{300});
    EXPECT_EQ(parsed->code, code);
    EXPECT_FALSE(text(code).empty());
  }
  EXPECT_EQ(text(static_cast<ResetCode>(kVarintMax)), "unknown");
  EXPECT_FALSE(parse_reset({}));
  EXPECT_FALSE(parse_reset(ByteVector{1}));
  EXPECT_FALSE(parse_reset(ByteVector{1, 0x40}));
  EXPECT_FALSE(parse_reset(ByteVector{1, 2, 3}));  // more than it says
}

// --- preambles ---

Preamble some_preamble() {
  Preamble p;
  p.stream = StreamNumber{777};
  p.service = ServiceNumber{3};
  p.resume_offset = 1'000'000;
  p.visitor = Address{IpAddress::v4(192, 0, 2, 9), 50'000};
  p.local = *Address::parse("[2001:db8::1]:443");
  p.sni = "blog.example.net";
  p.visit = 0x0123456789abcdef;
  p.probe = true;
  return p;
}

void expect_equal(const Preamble& a, const Preamble& b) {
  EXPECT_EQ(a.stream, b.stream);
  EXPECT_EQ(a.service, b.service);
  EXPECT_EQ(a.resume_offset, b.resume_offset);
  EXPECT_EQ(a.visitor, b.visitor);
  EXPECT_EQ(a.local, b.local);
  EXPECT_EQ(a.sni, b.sni);
  EXPECT_EQ(a.visit, b.visit);
  EXPECT_EQ(a.probe, b.probe);
  EXPECT_EQ(a.challenge, b.challenge);
}

TEST(LinkPreamble, FlagsAreOptionalAndMayGrow) {
  Preamble p = some_preamble();
  p.challenge = true;
  ByteVector out;
  write_preamble(out, p);
  std::size_t used = 0;
  auto parsed = parse_preamble(out, used);
  ASSERT_TRUE(parsed && *parsed);
  expect_equal(**parsed, p);
  // Other flags, and fields behind them, mean nothing yet.
  out.back() = 0x3c;
  out.push_back(0x55);
  ++out[out[0] < 64 ? 0 : 1];  // the length, a varint of one or two bytes
  parsed = parse_preamble(out, used);
  ASSERT_TRUE(parsed && *parsed);
  p.challenge = p.probe = false;
  expect_equal(**parsed, p);
  EXPECT_EQ(used, out.size());
}

TEST(LinkPreamble, EveryPrefixAndWhatFollows) {
  const Preamble p = some_preamble();
  ByteVector out;
  write_preamble(out, p);
  const std::size_t size = out.size();
  append(out, as_bytes("\x16\x03\x01 the visitor's bytes"));
  for (std::size_t n = 0; n <= out.size(); ++n) {
    std::size_t used = 99'999;
    auto parsed = parse_preamble(Bytes(out).first(n), used);
    ASSERT_TRUE(parsed) << n;
    ASSERT_EQ(parsed->has_value(), n >= size) << n;
    if (n < size) continue;
    EXPECT_EQ(used, size);
    expect_equal(**parsed, p);
  }
}

TEST(LinkPreamble, Bounds) {
  Preamble p = some_preamble();
  p.stream = StreamNumber{kVarintMax};
  p.service = ServiceNumber{UINT32_MAX};
  p.resume_offset = kVarintMax;
  p.sni = std::string(255, 'x');
  ByteVector out;
  write_preamble(out, p);
  std::size_t used = 0;
  auto parsed = parse_preamble(out, used);
  ASSERT_TRUE(parsed && parsed->has_value());
  expect_equal(**parsed, p);
  EXPECT_EQ(used, out.size());
}

// A preamble whose body is only `n` bytes long.
ByteVector short_preamble(std::size_t n) {
  ByteVector out;
  write_preamble(out, some_preamble());
  ByteVector whole;
  Writer w(whole);
  w.varint(n);
  w.bytes(Bytes(out).subspan(2, n));  // behind a length of two bytes
  return whole;
}

TEST(LinkPreamble, Faults) {
  struct Case {
    const char* what;
    ByteVector in;
    bool good;
  };
  const auto body_of = [](std::uint64_t stream, std::uint64_t service, std::uint64_t sni_length,
                          std::size_t sni_bytes) {
    ByteVector body;
    Writer w(body);
    w.varint(stream);
    w.varint(service);
    w.varint(0);
    w.bytes(ByteVector(36, 1));
    w.varint(sni_length);
    w.bytes(ByteVector(sni_bytes, 'a'));
    ByteVector whole;
    Writer out(whole);
    out.varint(body.size());
    out.bytes(body);
    return whole;
  };
  const Case cases[] = {
      {"plain", body_of(1, 1, 3, 3), true},
      {"no SNI", body_of(1, 1, 0, 0), true},
      {"fields of a newer relay behind it", body_of(1, 1, 3, 60), true},
      {"stream 0", body_of(0, 1, 3, 3), false},
      {"service over 32 bits", body_of(1, std::uint64_t{1} << 32, 3, 3), false},
      {"SNI of 255", body_of(1, 1, 255, 255), true},
      {"SNI of 256", body_of(1, 1, 256, 256), false},
      {"SNI beyond the body", body_of(1, 1, 4, 3), false},
      {"SNI of 2^62 - 1", body_of(1, 1, kVarintMax, 3), false},
      {"empty", {0}, false},
      {"over 1 KiB, announced only", {0x44, 0x01}, false},
      {"2^62 - 1, announced only", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false},
      {"cut inside an address", short_preamble(30), false},
      {"cut inside the SNI", short_preamble(55), false},
  };
  for (const Case& c : cases) {
    std::size_t used = 0;
    auto parsed = parse_preamble(c.in, used);
    EXPECT_EQ(static_cast<bool>(parsed), c.good) << c.what;
    if (!parsed) continue;
    EXPECT_TRUE(parsed->has_value()) << c.what;
  }
}

}  // namespace
}  // namespace adit::link
