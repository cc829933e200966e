#include "proto/quic_initial/initial_reader.h"

#include <gtest/gtest.h>
// The library's first, then its parts.
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/prng.h"
#include "base/limits.h"
#include "crypto/digest.h"
#include "proto/quic_initial/test_vectors.h"
#include "proto/tls_hello/test_hello.h"

namespace adit::quic_initial {
namespace {

using Need = InitialReader::Need;

// --- client Initials built from their parts, right or wrong on purpose ---

struct Parts {
  std::uint32_t version = kVersion1;
  ByteVector dcid = {1, 2, 3, 4, 5, 6, 7, 8}, scid = {9, 9}, token{};
  std::uint32_t number = 1;
  std::size_t number_bytes = 2;
  unsigned type = 0;               // as sent, of version 1
  std::size_t datagram_bytes = 0;  // filled up with PADDING
};

ByteVector crypto_frame(std::uint64_t offset, Bytes data) {
  ByteVector out;
  Writer w(out);
  w.varint(0x06);
  w.varint(offset);
  w.varint(data.size());
  w.bytes(data);
  return out;
}

ByteVector seal(const Parts& p, ByteVector frames) {
  ByteVector header;
  Writer w(header);
  const unsigned type = p.version == kVersion2 ? (p.type + 1) & 3 : p.type;
  w.u8(static_cast<std::uint8_t>(0xc0 | type << 4 | (p.number_bytes - 1)));
  w.u32(p.version);
  w.u8(static_cast<std::uint8_t>(p.dcid.size()));
  w.bytes(p.dcid);
  w.u8(static_cast<std::uint8_t>(p.scid.size()));
  w.bytes(p.scid);
  if (p.type == 0) {
    w.varint(p.token.size());
    w.bytes(p.token);
  }
  const std::size_t before = header.size() + 2 + p.number_bytes + 16;
  if (before + frames.size() < p.datagram_bytes) frames.resize(p.datagram_bytes - before);
  w.u16(static_cast<std::uint16_t>(0x4000 | (p.number_bytes + frames.size() + 16)));
  const std::size_t number_at = header.size();
  const InitialKeys keys = client_initial_keys(p.version, p.dcid);
  std::array<std::uint8_t, 12> nonce = keys.iv;
  for (std::size_t i = 0; i < p.number_bytes; ++i) {
    const auto byte = static_cast<std::uint8_t>(p.number >> (8 * (p.number_bytes - 1 - i)));
    w.u8(byte);
    nonce[nonce.size() - p.number_bytes + i] ^= byte;
  }
  ByteVector out(header.size() + frames.size() + 16);
  std::copy(header.begin(), header.end(), out.begin());
  Aes aes;
  CHECK(wc_AesInit(&aes, nullptr, INVALID_DEVID) == 0);
  CHECK(wc_AesGcmSetKey(&aes, keys.key.data(), 16) == 0);
  CHECK(wc_AesGcmEncrypt(&aes, out.data() + header.size(), frames.data(),
                         static_cast<word32>(frames.size()), nonce.data(), 12,
                         out.data() + out.size() - 16, 16, header.data(),
                         static_cast<word32>(header.size())) == 0);
  std::array<std::uint8_t, 16> mask;
  CHECK(wc_AesSetKeyDirect(&aes, keys.header.data(), 16, nullptr, AES_ENCRYPTION) == 0);
  CHECK(wc_AesEncryptDirect(&aes, mask.data(), out.data() + number_at + 4) == 0);
  wc_AesFree(&aes);
  out[0] ^= static_cast<std::uint8_t>(mask[0] & 0x0f);
  for (std::size_t i = 0; i < p.number_bytes; ++i) out[number_at + i] ^= mask[1 + i];
  return out;
}

ByteVector hello_of(std::size_t padding = 0) {
  using namespace test_hello;
  return message(body(join({server_name("shop.example.com"), alpn({"h3"}),
                            extension(21, ByteVector(padding))})));
}

ByteVector join(std::initializer_list<ByteVector> parts) {
  ByteVector out;
  for (const ByteVector& p : parts) out.insert(out.end(), p.begin(), p.end());
  return out;
}

ByteVector frame_of(const ByteVector& hello, std::size_t from, std::size_t to) {
  return crypto_frame(from, Bytes(hello).subspan(from, to - from));
}

// RFC 9001 appendix A.1, RFC 9369 appendix A.1.
TEST(InitialKeys, OfTheRfcs) {
  const ByteVector dcid = *crypto::hex_decode("8394c8f03e515708");
  const InitialKeys v1 = client_initial_keys(kVersion1, dcid);
  EXPECT_EQ(crypto::hex_encode(v1.key), "1f369613dd76d5467730efcbe3b1a22d");
  EXPECT_EQ(crypto::hex_encode(v1.iv), "fa044b2f42a3fd3b46fb255c");
  EXPECT_EQ(crypto::hex_encode(v1.header), "9f50449e04a0e810283a1e9933adedd2");
  const InitialKeys v2 = client_initial_keys(kVersion2, dcid);
  EXPECT_EQ(crypto::hex_encode(v2.key), "8b1a0bc121284290a29e0971b5cd045d");
  EXPECT_EQ(crypto::hex_encode(v2.iv), "91f73e2351d8fa91660e909f");
  EXPECT_EQ(crypto::hex_encode(v2.header), "45b95e15235d6f45a6b19cbcb0294ba9");
}

// RFC 9001 appendix A.2, RFC 9369 appendix A.2.
TEST(InitialReader, ReadsThePacketsOfTheRfcs) {
  for (const std::string_view hex : {kRfc9001Initial, kRfc9369Initial}) {
    InitialReader reader;
    auto read = reader.feed(*crypto::hex_decode(hex));
    ASSERT_TRUE(read) << read.error().what;
    ASSERT_EQ(*read, Need::Done);
    EXPECT_EQ(reader.hello().sni, "example.com");
    EXPECT_EQ(reader.hello().alpn, std::vector<std::string>{"alpn"});
  }
}

TEST(InitialReader, AnyFlippedByteIsNoPacketOfTheClients) {
  const ByteVector packet = *crypto::hex_decode(kRfc9001Initial);
  for (std::size_t i = 0; i < packet.size(); i += 7) {
    ByteVector bad = packet;
    bad[i] ^= 0x10;
    EXPECT_FALSE(InitialReader().feed(bad)) << i;
  }
}

// As Chromium sends it: a hello over two datagrams, in many frames, shuffled, with PING and PADDING
// between them; in whatever order the datagrams come.
TEST(InitialReader, ShuffledFramesOverSeveralDatagrams) {
  Prng random(7);
  for (int round = 0; round < 200; ++round) {
    const ByteVector hello = hello_of(1000 + random.below(2500));
    std::vector<ByteVector> frames;
    for (std::size_t at = 0; at < hello.size();) {
      const std::size_t n = std::min<std::size_t>(1 + random.below(300), hello.size() - at);
      frames.push_back(frame_of(hello, at, at + n));
      at += n;
    }
    for (std::size_t i = frames.size(); i > 1; --i)
      std::swap(frames[i - 1], frames[random.below(i)]);
    std::vector<ByteVector> datagrams;
    Parts parts;
    parts.version = random.below(2) == 0 ? kVersion1 : kVersion2;
    parts.datagram_bytes = 1200;
    ByteVector payload;
    const auto flush = [&] {
      datagrams.push_back(seal(parts, std::exchange(payload, {})));
      ++parts.number;
    };
    for (const ByteVector& frame : frames) {
      if (payload.size() + frame.size() > 1000) flush();
      if (random.below(3) == 0) payload.push_back(static_cast<std::uint8_t>(random.below(2)));
      payload.insert(payload.end(), frame.begin(), frame.end());
    }
    flush();
    if (datagrams.size() > limits::kInitialDatagramsMax) continue;
    for (std::size_t i = datagrams.size(); i > 1; --i)
      std::swap(datagrams[i - 1], datagrams[random.below(i)]);
    InitialReader reader;
    for (std::size_t i = 0; i < datagrams.size(); ++i) {
      auto read = reader.feed(datagrams[i]);
      ASSERT_TRUE(read) << read.error().what;
      ASSERT_EQ(*read, i + 1 == datagrams.size() ? Need::Done : Need::More);
    }
    EXPECT_EQ(reader.hello().sni, "shop.example.com");
    EXPECT_TRUE(reader.hello().offers("h3"));
  }
}

TEST(InitialReader, CoalescedPackets) {
  const ByteVector hello = hello_of(300);
  Parts initial, second, zero_rtt, other;
  second.number = 2;
  zero_rtt.type = 1;
  other.dcid = {8, 8, 8, 8, 8, 8, 8, 8};
  const auto first_half = seal(initial, frame_of(hello, 0, 200));
  const auto second_half = seal(second, frame_of(hello, 200, hello.size()));
  const auto early = seal(zero_rtt, ByteVector(100, 1));
  const auto strange = seal(other, frame_of(hello_of(), 0, 50));
  for (const ByteVector& datagram :
       {join({first_half, second_half}), join({second_half, first_half}),
        join({first_half, early, second_half}), join({first_half, strange, second_half}),
        join({first_half, second_half, ByteVector(50, 0)})}) {
    InitialReader reader;
    auto read = reader.feed(datagram);
    ASSERT_TRUE(read) << read.error().what;
    EXPECT_EQ(*read, Need::Done);
    EXPECT_EQ(reader.hello().sni, "shop.example.com");
  }
}

TEST(InitialReader, Table) {
  const ByteVector hello = hello_of();
  const ByteVector whole = frame_of(hello, 0, hello.size());
  Parts p;
  Parts with_token;
  with_token.token = ByteVector(100, 5);
  Parts no_ids;
  no_ids.dcid = no_ids.scid = {};
  ByteVector wrong_type = hello, too_long = hello;
  wrong_type[0] = 2;
  too_long[1] = 1;  // 64 KiB and more
  ByteVector cut = seal(p, whole);
  cut.resize(cut.size() - 1);
  const ByteVector ack = {0x02, 0x01, 0x00, 0x00, 0x00};
  struct Row {
    const char* name;
    ByteVector datagram;
    int code;  // 0: Done, -1: More
  };
  const Row rows[] = {
      {"whole", seal(p, whole), 0},
      {"with a token", seal(with_token, whole), 0},
      {"without connection ids", seal(no_ids, whole), 0},
      {"ACK and PING before", seal(p, join({ack, {0x01}, whole})), 0},
      {"the same bytes twice", seal(p, join({whole, whole})), 0},
      {"the start is missing", seal(p, frame_of(hello, 1, hello.size())), -1},
      {"the end is missing", seal(p, frame_of(hello, 0, hello.size() - 1)), -1},
      {"no frame but PADDING", seal(p, ByteVector(40)), -1},
      {"empty", {}, EPROTO},
      {"a short header", ByteVector(60, 0x40), EPROTO},
      {"cut short", cut, EPROTO},
      {"a version nobody knows", join({{0xc0, 9, 9, 9, 9}, ByteVector(60, 0)}), EPROTO},
      {"STREAM in an Initial", seal(p, {0x08, 0x00, 'a', 'b', 'c', 'd', 'e'}), EPROTO},
      {"CONNECTION_CLOSE", seal(p, {0x1c, 0x00, 0x00, 0x00, 0x00}), EPROTO},
      {"CRYPTO longer than the packet", seal(p, {0x06, 0x00, 0x20, 'a', 'b', 'c'}), EPROTO},
      {"another message", seal(p, crypto_frame(0, wrong_type)), EPROTO},
      {"a hello that is none", seal(p, crypto_frame(0, Bytes(ByteVector{1, 0, 0, 1, 9}))), EPROTO},
      {"a hello over the bound", seal(p, crypto_frame(0, too_long)), EMSGSIZE},
      {"an offset over the bound", seal(p, crypto_frame(16385, Bytes(ByteVector{1}))), EMSGSIZE},
  };
  for (const Row& row : rows) {
    InitialReader reader;
    auto read = reader.feed(row.datagram);
    if (row.code > 0) {
      ASSERT_FALSE(read) << row.name;
      EXPECT_EQ(read.error().code, row.code) << row.name;
    } else {
      ASSERT_TRUE(read) << row.name << ": " << read.error().what;
      EXPECT_EQ(*read, row.code == 0 ? Need::Done : Need::More) << row.name;
    }
  }
}

TEST(InitialReader, GivesUpAfterSomeDatagrams) {
  InitialReader reader;
  Parts p;
  for (std::size_t i = 0; i < limits::kInitialDatagramsMax; ++i) {
    auto read = reader.feed(seal(p, crypto_frame(5 + i, Bytes(ByteVector{7}))));
    ASSERT_TRUE(read);
    ++p.number;
  }
  EXPECT_EQ(reader.feed(seal(p, ByteVector(40))).error().code, EMSGSIZE);
}

TEST(LongHeader, Table) {
  const ByteVector datagram = *crypto::hex_decode(kRfc9001Initial);
  const auto initial = parse_long_header(datagram);
  ASSERT_TRUE(initial);
  EXPECT_TRUE(initial->initial);
  EXPECT_EQ(initial->version, kVersion1);
  EXPECT_EQ(crypto::hex_encode(initial->dcid), "8394c8f03e515708");
  EXPECT_TRUE(initial->scid.empty());
  EXPECT_TRUE(parse_long_header(*crypto::hex_decode(kRfc9369Initial))->initial);
  EXPECT_FALSE(parse_long_header({}));
  EXPECT_FALSE(parse_long_header(Bytes(ByteVector(40, 0x40))));
  EXPECT_FALSE(parse_long_header(Bytes(ByteVector{0xc0, 0, 0, 0, 1, 8, 1})));
  // A handshake packet of version 1; an unknown version, whose ids may be of any length.
  EXPECT_FALSE(parse_long_header(Bytes(ByteVector{0xe0, 0, 0, 0, 1, 0, 1, 7}))->initial);
  EXPECT_FALSE(parse_long_header(Bytes(ByteVector{0xc0, 9, 9, 9, 9, 0, 0}))->initial);
}

}  // namespace
}  // namespace adit::quic_initial
