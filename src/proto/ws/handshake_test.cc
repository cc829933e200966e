#include "proto/ws/handshake.h"

#include <gtest/gtest.h>

namespace adit::ws {
namespace {

using http1::HeadReader;

http1::Head read(HeadReader::Kind kind, std::string_view text) {
  HeadReader reader(kind);
  EXPECT_EQ(reader.feed(as_bytes(text)), HeadReader::Verdict::Done) << text;
  return reader.head();
}

std::string request(std::string_view version = "13", std::string_view key =
                    "dGhlIHNhbXBsZSBub25jZQ==", std::string_view more = "") {
  return "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n"
         "Connection: keep-alive, Upgrade\r\n"
         "Sec-WebSocket-Key: " + std::string(key) + "\r\nSec-WebSocket-Version: " +
         std::string(version) + "\r\nSec-WebSocket-Protocol: other, adit\r\n" + std::string(more) +
         "\r\n";
}

TEST(WebSocketHandshake, TheExampleOfTheRfc) {
  const auto out = accept_response(read(HeadReader::Kind::Request, request()), "adit");
  ASSERT_TRUE(out) << out.error().what;
  const http1::Head head = read(HeadReader::Kind::Response, *out);
  EXPECT_EQ(head.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_TRUE(check_response(head, "dGhlIHNhbXBsZSBub25jZQ==", "adit"));
  EXPECT_FALSE(check_response(head, new_key(), "adit"));
  EXPECT_FALSE(check_response(head, "dGhlIHNhbXBsZSBub25jZQ==", "other"));
}

TEST(WebSocketHandshake, OursIsAccepted) {
  const std::string key = new_key();
  const http1::Head head = read(HeadReader::Kind::Request,
                                upgrade_request("h.example:8443", "/.adit/link", key, "adit"));
  EXPECT_TRUE(asks_for_websocket(head));
  EXPECT_EQ(head.field("host"), "h.example:8443");
  const auto out = accept_response(head, "adit");
  ASSERT_TRUE(out);
  EXPECT_TRUE(check_response(read(HeadReader::Kind::Response, *out), key, "adit"));
}

TEST(WebSocketHandshake, RequestsThatAreNone) {
  const auto refused = [](const std::string& text) {
    return accept_response(read(HeadReader::Kind::Request, text), "adit").error().code;
  };
  EXPECT_EQ(refused(request("8")), 426);
  EXPECT_EQ(refused(request("13", "c2hvcnQ=")), 400);
  EXPECT_EQ(refused(request("13", "!!!")), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n"), 400);
  EXPECT_EQ(refused("POST /" + request().substr(5)), 400);
  EXPECT_FALSE(accept_response(read(HeadReader::Kind::Request, request()), "another"));
}

TEST(WebSocketHandshake, AnswersThatAreNone) {
  for (std::string_view text :
       {"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: adit\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"}) {
    const http1::Head head = read(HeadReader::Kind::Response, text);
    EXPECT_FALSE(check_response(head, "dGhlIHNhbXBsZSBub25jZQ==", "adit")) << text;
  }
}

}  // namespace
}  // namespace adit::ws
