#include "proto/proxy_header/proxy_header.h"

#include <gtest/gtest.h>

#include <string>

namespace adit {
namespace {

std::string text_of(Bytes b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }
ByteVector bytes_of(std::string_view s) {
  const Bytes b = as_bytes(s);
  return {b.begin(), b.end()};
}
Address at(std::string_view text) { return *Address::parse(text); }

const ProxiedConnection kV4{at("192.0.2.7:51000"), at("198.51.100.1:443")};
const ProxiedConnection kV6{at("[2001:db8::7]:51000"), at("[2001:db8::1]:443")};
const ProxiedConnection kMixed{at("192.0.2.7:51000"), at("[2001:db8::1]:443")};

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

// Port 0 can be said in one form, so it can be read in the other.
TEST(ProxyHeader, PortZero) {
  ProxyHeaderReader reader;
  auto done = reader.feed(as_bytes("PROXY TCP4 192.0.2.1 198.51.100.1 0 443\r\n"));
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(reader.connection()->source.port, 0);
}

TEST(ProxyHeader, WritesVersion1) {
  EXPECT_EQ(text_of(proxy_header_v1(kV4)), "PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n");
  EXPECT_EQ(text_of(proxy_header_v1(kV6)), "PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n");
  EXPECT_EQ(text_of(proxy_header_v1(kMixed)),
            "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 51000 443\r\n");
}

TEST(ProxyHeader, WritesVersion2) {
  std::string v4(kSignature);
  v4 += std::string_view("\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xc7\x38\x01\xbb", 16);
  EXPECT_EQ(text_of(proxy_header_v2(kV4)), v4);
  EXPECT_EQ(proxy_header_v2(kV6).size(), 52u);
  EXPECT_EQ(proxy_header_v2(kV6)[13], 0x21);
  EXPECT_EQ(proxy_header_v2_udp(kV4)[13], 0x12);
  EXPECT_EQ(proxy_header_v2_udp(kV6)[13], 0x22);
  EXPECT_EQ(proxy_header_v2_udp(kV4).size(), 28u);
}

// However it is cut, and whatever follows.
TEST(ProxyHeader, ReadsWhatItWrites) {
  for (const ProxiedConnection& c : {kV4, kV6, kMixed}) {
    for (const ByteVector& header : {proxy_header_v1(c), proxy_header_v2(c)}) {
      ByteVector all = header;
      all.insert(all.end(), {0x16, 0x03, 0x01});
      for (std::size_t piece = 1; piece <= all.size(); ++piece) {
        ProxyHeaderReader reader;
        std::size_t fed = 0;
        bool done = false;
        while (!done) {
          ASSERT_LT(fed, all.size());
          const std::size_t n = std::min(piece, all.size() - fed);
          auto r = reader.feed(Bytes(all).subspan(fed, n));
          ASSERT_TRUE(r) << r.error().what;
          fed += n;
          done = *r;
        }
        EXPECT_GE(fed, header.size());
        ASSERT_TRUE(reader.connection());
        EXPECT_EQ(reader.connection()->source, c.source);
        EXPECT_EQ(reader.connection()->destination, c.destination);
        EXPECT_EQ(reader.rest().size(), fed - header.size());
      }
    }
  }
}

TEST(ProxyHeader, Table) {
  struct Row {
    const char* what;
    std::string in;
    std::string outcome;  // "more", "own", "SOURCE" or a part of the error
  };
  const std::string sig(kSignature);
  const auto v2 = [&sig](std::string_view rest) { return sig + std::string(rest); };
  const std::string ten_tlv_bytes(10, 'x');
  const Row rows[] = {
      {"nothing yet", "", "more"},
      {"a part of both starts", "P", "more"},
      {"a TLS hello", "\x16\x03\x01", "sent none"},
      {"HTTP", "POST / HTTP/1.1\r\n", "sent none"},
      {"v1 for itself", "PROXY UNKNOWN\r\n", "own"},
      {"v1 for itself with words", "PROXY UNKNOWN ffff:: 1 2 3 4 5\r\n", "own"},
      {"v1 without an end", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2", "more"},
      {"v1 that never ends", "PROXY TCP4 " + std::string(100, '1'), "107"},
      {"v1 with the end one late", "PROXY UNKNOWN " + std::string(92, 'a') + "\r\n", "107"},
      {"v1 of the full length", "PROXY UNKNOWN " + std::string(91, 'a') + "\r\n", "own"},
      {"v1 of UDP", "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "TCP4|TCP6"},
      {"v1 with a word too few", "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "TCP4|TCP6"},
      {"v1 with two spaces", "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "TCP4|TCP6"},
      {"v1 with a family that is wrong", "PROXY TCP4 ::1 ::2 1 2\r\n", "not an address"},
      {"v1 with a port that is none", "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", "not an address"},
      {"v1 with a line feed alone", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", "more"},
      {"v2 for itself", v2(std::string_view("\x20\x00\x00\x00", 4)), "own"},
      {"v2 for itself with bytes", v2(std::string_view("\x20\x11\x00\x02xx", 6)), "own"},
      {"v2 of another version", v2(std::string_view("\x31\x11\x00\x00", 4)), "version"},
      {"v2 of an unknown command", v2(std::string_view("\x22\x11\x00\x00", 4)), "command"},
      {"v2 of UDP", v2(std::string_view("\x21\x12\x00\x0c", 4)) + std::string(12, 'a'), "own"},
      {"v2 of a Unix socket", v2(std::string_view("\x21\x31\x00\xd8", 4)) + std::string(216, 0),
       "own"},
      {"v2 too short", v2(std::string_view("\x21\x11\x00\x0b", 4)) + std::string(11, 'a'),
       "too short"},
      {"v2 too long", v2(std::string_view("\x21\x11\x08\x00", 4)), "2048"},
      {"v2 not all there", v2(std::string_view("\x21\x11\x00\x0c", 4)) + std::string(11, 'a'),
       "more"},
      {"v2 with additions",
       v2(std::string_view("\x21\x11\x00\x16\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a",
                           16)) +
           ten_tlv_bytes,
       "1.2.3.4:9"},
  };
  for (const Row& row : rows) {
    ProxyHeaderReader reader;
    auto r = reader.feed(bytes_of(row.in));
    if (!r) {
      EXPECT_NE(r.error().what.find(row.outcome), std::string::npos)
          << row.what << ": " << r.error().what;
    } else if (!*r) {
      EXPECT_EQ(row.outcome, "more") << row.what;
    } else {
      EXPECT_EQ(row.outcome, reader.connection() ? reader.connection()->source.text() : "own")
          << row.what;
      EXPECT_TRUE(reader.rest().empty()) << row.what;
    }
  }
}

}  // namespace
}  // namespace adit
