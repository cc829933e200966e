#include "crypto/digest.h"

#include <gtest/gtest.h>

#include "crypto/random.h"

namespace adit::crypto {
namespace {

TEST(Digest, Sha256OfRfc6234) {
  EXPECT_EQ(hex_encode(sha1(as_bytes("abc"))), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(hex_encode(sha256({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_encode(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, HmacOfRfc4231) {
  EXPECT_EQ(hex_encode(hmac_sha256(ByteVector(20, 0x0b), as_bytes("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex_encode(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  // A key over the block size (131 bytes), and none.
  EXPECT_EQ(hex_encode(hmac_sha256(
                ByteVector(131, 0xaa),
                as_bytes("Test Using Larger Than Block-Size Key - Hash Key First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(hex_encode(hmac_sha256({}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(Digest, ComparesInConstantTime) {
  EXPECT_TRUE(equal_constant_time({}, {}));
  EXPECT_TRUE(equal_constant_time(as_bytes("abc"), as_bytes("abc")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("abd")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("abcd")));
}

TEST(Base32, OfRfc4648InLowerCaseWithoutPadding) {
  const std::pair<const char*, const char*> table[] = {
      {"", ""},           {"f", "my"},         {"fo", "mzxq"},          {"foo", "mzxw6"},
      {"foob", "mzxw6yq"}, {"fooba", "mzxw6ytb"}, {"foobar", "mzxw6ytboi"}};
  for (const auto& [in, out] : table) EXPECT_EQ(base32_lower(as_bytes(in)), out);
}

TEST(Base64, OfRfc4648BothWays) {
  const std::pair<const char*, const char*> table[] = {
      {"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [in, out] : table) {
    EXPECT_EQ(base64_encode(as_bytes(in)), out);
    auto back = base64_decode(out);
    ASSERT_TRUE(back) << out;
    EXPECT_EQ(as_text(*back), in);
  }
  const ByteVector high = {0xfb, 0xef, 0xff};
  EXPECT_EQ(base64_encode(high), "++//");
  EXPECT_EQ(base64url_encode(high), "--__");
  EXPECT_EQ(*base64url_decode("--__"), high);
  EXPECT_EQ(base64url_encode(as_bytes("f")), "Zg");
  EXPECT_EQ(as_text(*base64url_decode("Zg")), "f");
}

TEST(Base64, RefusesWhatItWouldNotWrite) {
  for (const char* text :
       {"Zg", "Zg=", "Zh==", "Zm9v=", "====", "Z===", "Zm 9v", "--__", "Zg==Zg=="}) {
    EXPECT_FALSE(base64_decode(text)) << text;
  }
  for (const char* text : {"Zg==", "Z", "Zh", "++//"}) EXPECT_FALSE(base64url_decode(text)) << text;
}

TEST(Hex, BothWays) {
  EXPECT_EQ(hex_encode(ByteVector{0x00, 0xab, 0xff}), "00abff");
  EXPECT_EQ(*hex_decode("00aBFf"), (ByteVector{0x00, 0xab, 0xff}));
  for (const char* text : {"0", "0g", "0x", " 00 "}) EXPECT_FALSE(hex_decode(text)) << text;
}

TEST(Random, Differs) {
  EXPECT_NE(random_u64(), random_u64());
  std::array<std::uint8_t, 1000> a{}, b{};
  random_bytes(a);
  random_bytes(b);
  EXPECT_NE(a, b);
  random_bytes({});
}

}  // namespace
}  // namespace adit::crypto
