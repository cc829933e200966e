#include "proto/codec/base64.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/prng.h"

namespace adit::codec {
namespace {

// Bytes, or the fault in words.
std::string decoded(std::string_view text) {
  ByteVector out;
  const auto fault = base64_decode(text, out);
  return fault ? fault->text() : std::string(as_text(out));
}

TEST(Base64, VectorsOfRfc4648) {
  const std::pair<const char*, const char*> rows[] = {
      {"", ""},           {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : rows) {
    EXPECT_EQ(base64_encode(as_bytes(plain)), text);
    EXPECT_EQ(decoded(text), plain);
  }
  EXPECT_EQ(base64_encode(ByteVector{0xfb, 0xff, 0xbf}), "+/+/");
}

TEST(Base64, RefusesWhatNoEncoderWrites) {
  const std::pair<std::string, const char*> rows[] = {
      {"Zg", "Invalid padding"},
      {"Zg=", "Invalid padding"},
      {"Zm8", "Invalid padding"},
      {"Z", "Invalid input length: 1"},
      {"Zm9vZ", "Invalid input length: 5"},
      {"Z===", "Invalid symbol 61, offset 1."},
      {"====", "Invalid symbol 61, offset 0."},
      {"Zg==Zg==", "Invalid symbol 61, offset 2."},
      {"Zg===", "Invalid symbol 61, offset 2."},
      {"Zm9v=", "Invalid symbol 61, offset 4."},
      {"Zm9v====", "Invalid symbol 61, offset 4."},
      {"Zm=v", "Invalid symbol 118, offset 3."},
      {"Zh==", "Invalid last symbol 104, offset 1."},
      {"Zm9=", "Invalid last symbol 57, offset 2."},
      {"Zm 8", "Invalid symbol 32, offset 2."},
      {"Zm9v\n", "Invalid symbol 10, offset 4."},
      {"\nZm9v", "Invalid symbol 10, offset 0."},
      {"Zm-_", "Invalid symbol 45, offset 2."},
      {std::string("Zm\0v", 4), "Invalid symbol 0, offset 2."},
      {"Zm\xc3\xa4", "Invalid symbol 195, offset 2."},
      {std::string(40, 'A') + "%" + std::string(43, 'A'), "Invalid symbol 37, offset 40."},
      {std::string(80, 'A') + "\x80" + std::string(83, 'A'), "Invalid symbol 128, offset 80."},
  };
  for (const auto& [text, fault] : rows) {
    EXPECT_EQ(decoded(text), fault) << text;
    ByteVector out = {1, 2};
    EXPECT_TRUE(base64_decode(text, out));
    EXPECT_EQ(out, (ByteVector{1, 2}));
  }
}

TEST(Base64, EverySizeThereAndBackWithinItsBounds) {
  Prng prng(1);
  for (std::size_t size = 0; size < 400; ++size) {
    ByteVector plain(size);
    for (auto& b : plain) b = static_cast<std::uint8_t>(prng.next());
    const std::string text = base64_encode(plain);
    std::string expected(base64_size(size), 0);
    base64_encode_plain(plain, expected.data());
    ASSERT_EQ(text, expected) << size;

    // A buffer of just the size that is asked for, guarded behind.
    std::vector<std::uint8_t> room(base64_bytes_max(text.size()) + 1, 0xee);
    const Base64Decoded whole = base64_decode(text, room.data());
    ASSERT_TRUE(whole) << size;
    ASSERT_EQ(whole.size, size);
    ASSERT_TRUE(std::equal(plain.begin(), plain.end(), room.begin()));
    ASSERT_EQ(room.back(), 0xee) << size;

    std::string place = text;
    const Base64Decoded in_place =
        base64_decode(place, reinterpret_cast<std::uint8_t*>(place.data()));
    ASSERT_TRUE(in_place && in_place.size == size) << size;
    ASSERT_TRUE(std::equal(plain.begin(), plain.end(), as_bytes(place).begin()));
  }
}

TEST(Base64, EveryCharacterAtEveryPlaceIsJudgedAlike) {
  // 200 characters reach the vectors of every processor and what is left behind them.
  for (std::size_t at : {0, 1, 15, 16, 63, 64, 100, 127, 128, 191, 196}) {
    for (unsigned c = 0; c < 256; ++c) {
      std::string text(200, 'b');
      text[at] = static_cast<char>(c);
      std::uint8_t fast[150], plain[150];
      const auto got = base64_decode(text, fast), want = base64_decode_plain(text, plain);
      ASSERT_EQ(static_cast<bool>(got), static_cast<bool>(want)) << at << " " << c;
      if (want) {
        ASSERT_EQ(got.size, want.size);
        ASSERT_EQ(std::memcmp(fast, plain, want.size), 0);
      } else {
        ASSERT_EQ(got.fault->text(), want.fault->text());
      }
    }
  }
}

}  // namespace
}  // namespace adit::codec
