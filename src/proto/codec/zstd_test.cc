#include "proto/codec/zstd.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <cerrno>

#include "base/limits.h"
#include "base/prng.h"

namespace adit::codec {
namespace {

ByteVector text_of(std::size_t size, unsigned letters = 6) {
  Prng prng(3);
  ByteVector out(size);
  for (auto& b : out) b = static_cast<std::uint8_t>('a' + prng.below(letters));
  return out;
}

ByteVector frame_of(Bytes plain) {
  ByteVector out;
  ZstdEncoder encoder;
  EXPECT_TRUE(encoder.encode(plain, out));
  return out;
}

int code_of(const Status& status) { return status ? 0 : status.error().code; }

TEST(Zstd, AFrameByHand) {
  // RFC 8878 §3.1.1: magic, single segment with a size of one byte, one raw block that is the last.
  const ByteVector frame = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, 'a', 'b', 'c'};
  ZstdDecoder decoder;
  ByteVector out = {'>'};
  ASSERT_TRUE(decoder.decode(frame, 3, out));
  EXPECT_EQ(as_text(out), ">abc");
  EXPECT_EQ(code_of(decoder.decode(frame, 2, out)), EMSGSIZE);
  EXPECT_EQ(as_text(out), ">abc");
  for (std::size_t size = 0; size < frame.size(); ++size)
    EXPECT_EQ(code_of(decoder.decode(Bytes(frame).first(size), 10, out)), EBADMSG) << size;
  ByteVector more = frame;
  more.insert(more.end(), frame.begin(), frame.end());
  ASSERT_TRUE(decoder.decode(more, 6, out));
  EXPECT_EQ(as_text(out), ">abcabcabc");
  more.push_back('x');
  EXPECT_EQ(code_of(decoder.decode(more, 100, out)), EBADMSG);
  EXPECT_EQ(code_of(decoder.decode(as_bytes("{\"op\":\"data\"}"), 100, out)), EBADMSG);
  EXPECT_EQ(as_text(out), ">abcabcabc");
}

TEST(Zstd, ThereAndBack) {
  ZstdDecoder decoder;
  for (std::size_t size : {0u, 1u, 100u, 131'072u, 1'000'000u}) {
    const ByteVector plain = text_of(size);
    const ByteVector frame = frame_of(plain);
    ByteVector out;
    ASSERT_TRUE(decoder.decode(frame, size, out)) << size;
    EXPECT_TRUE(out == plain);
    if (size > 1000) {
      EXPECT_LT(frame.size() * 2, size);
    }
  }
}

TEST(Zstd, WrittenInPieces) {
  const ByteVector plain = text_of(700'000, 26);
  ZstdEncoder encoder;
  ZstdDecoder decoder;
  for (std::size_t piece : {1000u, 300'000u}) {
    for (const bool known : {false, true}) {
      ByteVector frame, out;
      encoder.begin(known ? std::optional(plain.size()) : std::nullopt);
      for (std::size_t at = 0; at < plain.size(); at += piece)
        ASSERT_TRUE(encoder.write(Bytes(plain).subspan(at, std::min(piece, plain.size() - at)),
                                  frame));
      ASSERT_TRUE(encoder.finish(frame));
      ASSERT_TRUE(decoder.decode(frame, plain.size(), out));
      EXPECT_TRUE(out == plain);
    }
  }
  // One that was begun is dropped; one that is not what it promised is an error.
  ByteVector frame, out;
  encoder.begin(std::nullopt);
  ASSERT_TRUE(encoder.write(plain, frame));
  encoder.begin(5);
  ASSERT_TRUE(encoder.write(as_bytes("ab"), frame));
  EXPECT_EQ(code_of(encoder.finish(frame)), EINVAL);
  frame.clear();
  ASSERT_TRUE(encoder.encode(as_bytes("abc"), frame));
  ASSERT_TRUE(decoder.decode(frame, 3, out));
  EXPECT_EQ(as_text(out), "abc");
}

TEST(Zstd, StopsAtItsBounds) {
  const ByteVector bomb = frame_of(ByteVector(256 << 20));
  EXPECT_LT(bomb.size(), 50'000u);
  ZstdDecoder decoder;
  ByteVector out;
  EXPECT_EQ(code_of(decoder.decode(bomb, 1 << 20, out)), EMSGSIZE);
  EXPECT_TRUE(out.empty());
  EXPECT_LE(out.capacity(), std::size_t{4} << 20);

  // A window of 16 MiB.
  const ByteVector plain = text_of(100'000);
  ByteVector wide(ZSTD_compressBound(plain.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, limits::kZstdWindowLogMax + 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ZSTD_inBuffer from{plain.data(), plain.size(), 0};
  ZSTD_outBuffer to{wide.data(), wide.size(), 0};
  ASSERT_GT(ZSTD_compressStream2(context, &to, &from, ZSTD_e_flush) + 1, 0u);
  ASSERT_EQ(ZSTD_compressStream2(context, &to, &from, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  wide.resize(to.pos);
  EXPECT_EQ(code_of(decoder.decode(wide, 1 << 20, out)), EBADMSG);
}

TEST(Zstd, DamageIsNoticedOrHarmless) {
  const ByteVector frame = frame_of(text_of(5000));
  ZstdDecoder decoder;
  for (std::size_t at = 0; at < frame.size(); ++at) {
    ByteVector bad = frame, out;
    bad[at] ^= 0x10;
    if (decoder.decode(bad, 5000, out)) {
      EXPECT_LE(out.size(), 5000u);
    } else {
      EXPECT_TRUE(out.empty());
    }
  }
}

}  // namespace
}  // namespace adit::codec
