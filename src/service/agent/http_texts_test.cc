#include "service/agent/http_texts.h"

#include <gtest/gtest.h>

namespace adit::service {
namespace {

http::RequestHead request() {
  http::RequestHead r;
  r.method = "GET";
  r.scheme = "https";
  r.authority = "a.test:8443";
  r.target = "/x?y";
  return r;
}

TEST(HttpTexts, HeadsAreForwarded) {
  http::RequestHead r = request();
  r.fields = {{"accept", "*/*"},           {"connection", "keep-alive, x-own"}, {"x-own", "1"},
              {"te", "trailers"},          {"forwarded", "for=6.6.6.6"},
              {"x-forwarded-for", "6.6.6.6"}, {"x-real-ip", "6.6.6.6"}, {"cookie", "a=b"},
              {"upgrade", "h2c"},          {"http2-settings", "AAA"}};
  EXPECT_EQ(forwarded_head(r, IpAddress::v4(192, 0, 2, 1), false),
            "GET /x?y HTTP/1.1\r\nHost: a.test:8443\r\naccept: */*\r\ncookie: a=b\r\n"
            "Forwarded: for=192.0.2.1;host=\"a.test:8443\";proto=https\r\n"
            "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
            "X-Forwarded-Host: a.test:8443\r\n\r\n");
  r.fields.clear();
  r.authority = "a.test";
  r.has_body = true;
  const IpAddress six = *IpAddress::parse("2001:db8::1");
  const std::string chunked = forwarded_head(r, six, false);
  EXPECT_NE(chunked.find("Forwarded: for=\"[2001:db8::1]\";host=a.test;proto=https\r\n"),
            chunked.npos);
  EXPECT_NE(chunked.find("X-Forwarded-For: 2001:db8::1\r\n"), chunked.npos);
  EXPECT_NE(chunked.find("Transfer-Encoding: chunked\r\n"), chunked.npos);
  r.length = 7;
  const std::string counted = forwarded_head(r, six, false);
  EXPECT_NE(counted.find("Content-Length: 7\r\n"), counted.npos);
  EXPECT_EQ(counted.find("chunked"), counted.npos);
}

TEST(HttpTexts, Upgrades) {
  http::RequestHead r = request();
  EXPECT_FALSE(asks_for_upgrade(r));
  r.fields = {{"connection", "keep-alive, Upgrade"}, {"upgrade", "websocket"}};
  EXPECT_TRUE(asks_for_upgrade(r));
  const std::string head = forwarded_head(r, IpAddress::loopback4(), true);
  EXPECT_NE(head.find("Connection: Upgrade\r\nUpgrade: websocket\r\n"), head.npos);
  r.has_body = true;
  EXPECT_FALSE(asks_for_upgrade(r));
  r.has_body = false;
  r.version = 2;
  EXPECT_FALSE(asks_for_upgrade(r));
  r.version = 1;
  for (const char* other : {"h2c", "TLS/1.0", "HTTP/2.0", "websocket, h2c", ""}) {
    r.fields[1].value = other;
    EXPECT_FALSE(asks_for_upgrade(r)) << other;
  }
}

TEST(HttpTexts, Hosts) {
  EXPECT_EQ(host_of("a.test"), "a.test");
  EXPECT_EQ(host_of("a.test.:443"), "a.test");
  EXPECT_EQ(host_of("[::1]:443"), "[::1]");
  EXPECT_EQ(host_of(""), "");
}

TEST(HttpTexts, PagesByWhatIsAccepted) {
  http::RequestHead r = request();
  r.authority = "<b>";
  const HttpPage plain = trouble_page(r, {502, "refused the connection"}, "00ff");
  EXPECT_EQ(plain.head.status, 502);
  EXPECT_EQ(*plain.head.length, plain.body.size());
  EXPECT_EQ(http::field(plain.head.fields, "content-type"), "text/plain; charset=utf-8");
  EXPECT_NE(plain.body.find("agent to the service    the service refused"), plain.body.npos);
  EXPECT_NE(plain.body.find("adit explain 00ff"), plain.body.npos);
  r.fields = {{"accept", "application/xml, Text/HTML;q=0.9"}};
  const HttpPage html = trouble_page(r, {504, "did not answer in time"}, "00ff");
  EXPECT_EQ(http::field(html.head.fields, "content-type"), "text/html; charset=utf-8");
  EXPECT_NE(html.body.find("504 Gateway Timeout"), html.body.npos);
  EXPECT_EQ(html.body.find("<b><b>"), html.body.npos);
  EXPECT_EQ(misdirected_page("00ff").head.status, 421);
}

}  // namespace
}  // namespace adit::service
