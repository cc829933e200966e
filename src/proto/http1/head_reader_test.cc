#include "proto/http1/head_reader.h"

#include <gtest/gtest.h>

namespace adit::http1 {
namespace {

using Kind = HeadReader::Kind;
using Verdict = HeadReader::Verdict;

constexpr std::string_view kUpgrade =
    "GET /.adit/link?thread=3 HTTP/1.1\r\nHost: t.example.com\r\n"
    "Connection: keep-alive, Upgrade\r\n"
    "Upgrade: websocket\r\nX-Empty:\r\nsec-websocket-KEY:   dGhl  \r\n\r\n";

TEST(HttpHead, RequestIsReadInAnyFragmentation) {
  for (std::size_t piece : {1u, 2u, 7u, 64u, 4096u}) {
    HeadReader reader(Kind::Request);
    const std::string whole = std::string(kUpgrade) + "rest";
    std::size_t at = 0;
    Verdict v = Verdict::More;
    while (at < whole.size() && v == Verdict::More) {
      const std::string_view part = std::string_view(whole).substr(at, piece);
      v = reader.feed(as_bytes(part));
      at += part.size();
    }
    ASSERT_EQ(v, Verdict::Done) << piece << reader.fault();
    EXPECT_EQ(at - reader.rest().size(), kUpgrade.size()) << piece;
    const Head& h = reader.head();
    EXPECT_EQ(h.method, "GET");
    EXPECT_EQ(h.target, "/.adit/link?thread=3");
    EXPECT_EQ(h.field("host"), "t.example.com");
    EXPECT_EQ(h.field("sec-websocket-key"), "dGhl");
    EXPECT_EQ(h.field("x-empty"), "");
    EXPECT_TRUE(h.lists("connection", "upgrade"));
    EXPECT_FALSE(h.lists("connection", "upgrad"));
    EXPECT_FALSE(h.lists("upgrade", ""));
  }
}

TEST(HttpHead, ResponsesOfProxiesAndServers) {
  for (std::string_view text :
       {"HTTP/1.1 200 Connection established\r\n\r\nbytes",
        "HTTP/1.0 200 OK\r\nVia: x\r\n\r\nbytes",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nbytes",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbytes"}) {
    HeadReader reader(Kind::Response);
    ASSERT_EQ(reader.feed(as_bytes(text)), Verdict::Done) << text << reader.fault();
    EXPECT_EQ(reader.head().status, 200);
    EXPECT_EQ(as_text(reader.rest()), "bytes");
  }
  HeadReader reader(Kind::Response);
  ASSERT_EQ(reader.feed(as_bytes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\n\r\n\x82")),
            Verdict::Done);
  EXPECT_EQ(reader.head().status, 101);
  EXPECT_EQ(reader.rest().size(), 1u);
}

TEST(HttpHead, WhatIsNotAHeadIsSaidToBeSo) {
  for (std::string_view text :
       {"\x16\x03\x01\x02", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\n Folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    HeadReader reader(Kind::Request);
    EXPECT_EQ(reader.feed(as_bytes(text)), Verdict::Malformed) << text;
    EXPECT_FALSE(reader.fault().empty());
  }
}

TEST(HttpHead, LengthAndNumberOfFieldsHaveABound) {
  HeadReader reader(Kind::Request, 64);
  EXPECT_EQ(reader.feed(as_bytes("GET /" + std::string(100, 'a'))), Verdict::TooLong);
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 200; ++i) many += "a:b\r\n";
  HeadReader fields(Kind::Request);
  EXPECT_EQ(fields.feed(as_bytes(many + "\r\n")), Verdict::Malformed);
  EXPECT_EQ(fields.fault(), "too many fields");
}

}  // namespace
}  // namespace adit::http1
