#include "proto/codec/gunzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cerrno>

#include "base/prng.h"

namespace adit::codec {
namespace {

ByteVector gzip(Bytes plain) {
  z_stream s{};
  EXPECT_EQ(deflateInit2(&s, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  ByteVector out(deflateBound(&s, plain.size()));
  s.next_in = const_cast<Bytef*>(plain.data());
  s.avail_in = static_cast<uInt>(plain.size());
  s.next_out = out.data();
  s.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&s, Z_FINISH), Z_STREAM_END);
  const auto size = static_cast<std::ptrdiff_t>(s.total_out);
  deflateEnd(&s);
  return {out.begin(), out.begin() + size};
}

struct Outcome {
  int code = 0;
  bool done = false;
  ByteVector out;
  bool operator==(const Outcome&) const = default;
};

Outcome run(Bytes in, std::size_t max, std::size_t piece = 1 << 20) {
  Gunzip gunzip(max);
  Outcome o;
  for (std::size_t at = 0; at < in.size() && o.code == 0; at += piece) {
    const auto fed = gunzip.feed(in.subspan(at, std::min(piece, in.size() - at)), o.out);
    if (!fed) o.code = fed.error().code;
  }
  o.done = gunzip.done();
  return o;
}

ByteVector text_of(std::size_t size) {
  Prng prng(7);
  ByteVector out(size);
  for (auto& b : out) b = static_cast<std::uint8_t>('a' + prng.below(6));
  return out;
}

TEST(Gunzip, AMemberByHand) {
  // RFC 1952 §2.3 with a name (FNAME), one stored block of RFC 1951 §3.2.4, CRC-32 and length.
  const ByteVector member = {0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255, 'x', 0, 1, 3, 0, 0xfc, 0xff,
                             'a', 'b', 'c', 0xc2, 0x41, 0x24, 0x35, 3, 0, 0, 0};
  EXPECT_TRUE(looks_like_gzip(member));
  EXPECT_EQ(run(member, 10), (Outcome{0, true, {'a', 'b', 'c'}}));
  for (std::size_t at : {0u, 2u, 20u, 24u}) {  // magic, method, checksum, length
    ByteVector bad = member;
    bad[at] ^= 1;
    const Outcome o = run(bad, 10);
    EXPECT_EQ(o.code, EBADMSG) << at;
    EXPECT_FALSE(o.done);
  }
}

TEST(Gunzip, HoweverItIsCut) {
  const ByteVector plain = text_of(300'000), member = gzip(plain);
  for (std::size_t piece : {1u, 7u, 1000u, 1'000'000u})
    EXPECT_TRUE(run(member, plain.size(), piece) == (Outcome{0, true, plain})) << piece;
  EXPECT_EQ(run(gzip({}), 0), (Outcome{0, true, {}}));
}

TEST(Gunzip, CutOffOrFollowedByMore) {
  const ByteVector plain = text_of(1000);
  ByteVector member = gzip(plain);
  for (std::size_t size = 0; size < member.size(); ++size) {
    const Outcome o = run(Bytes(member).first(size), 10'000);
    EXPECT_EQ(o.code, 0) << size;
    EXPECT_FALSE(o.done) << size;
  }
  const ByteVector again = member;
  member.insert(member.end(), again.begin(), again.end());  // a second member
  member.push_back('x');
  EXPECT_TRUE(run(member, 10'000) == (Outcome{0, true, plain}));
  EXPECT_TRUE(run(member, 10'000, 3) == (Outcome{0, true, plain}));
}

TEST(Gunzip, StopsAtItsBound) {
  const ByteVector plain = text_of(200'000), member = gzip(plain);
  EXPECT_EQ(run(member, plain.size()).code, 0);
  for (std::size_t max : {std::size_t{0}, std::size_t{1}, plain.size() - 1}) {
    const Outcome o = run(member, max);
    EXPECT_EQ(o.code, EMSGSIZE) << max;
    EXPECT_EQ(o.out.size(), max);
    EXPECT_FALSE(o.done);
  }
  // A bomb: 64 MiB in 64 KiB. What it may take is what it was given.
  const ByteVector bomb = gzip(ByteVector(64 << 20));
  EXPECT_LT(bomb.size(), 70'000u);
  const Outcome o = run(bomb, 1 << 20);
  EXPECT_EQ(o.code, EMSGSIZE);
  EXPECT_EQ(o.out.size(), std::size_t{1} << 20);
  EXPECT_LE(o.out.capacity(), std::size_t{4} << 20);
  Gunzip gunzip(10);
  ByteVector out;
  EXPECT_EQ(gunzip.feed(bomb, out).error().code, EMSGSIZE);
  EXPECT_EQ(gunzip.feed(bomb, out).error().code, EBADMSG);  // stays failed
}

TEST(Gunzip, TellsGzipFromOtherThings) {
  for (const char* text : {"", "\x1f", "{\"k\":1}", "\x1f\x8c"})
    EXPECT_FALSE(looks_like_gzip(as_bytes(text)));
  ByteVector zlib = {0x78, 0x9c, 3, 0, 0, 0, 0, 1};  // RFC 1950
  EXPECT_EQ(run(zlib, 10).code, EBADMSG);
}

}  // namespace
}  // namespace adit::codec
