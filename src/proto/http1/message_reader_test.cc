#include "proto/http1/message_reader.h"

#include <gtest/gtest.h>

namespace adit::http1 {
namespace {

using Kind = MessageReader::Kind;
using Step = MessageReader::Step;

// One line a message: "GET /x [body]", "200 [body]"; at last what went wrong, in "<>".
std::string read_all(Kind kind, std::string_view text, std::size_t piece, bool ends = false,
                     bool to_head = false) {
  MessageReader reader(kind, 1024);
  if (to_head) reader.answers_head();
  std::string out, body;
  Bytes left = as_bytes(text);
  while (true) {
    const Bytes part = left.first(std::min(piece, left.size()));
    Step step = reader.read(part);
    if (step == Step::Malformed) return out + "<" + std::to_string(reader.fault_status()) + ">";
    if (step == Step::TooLong) return out + "<too long>";
    left = left.subspan(reader.used());
    if (step == Step::Body) body += as_text(reader.body());
    if (step == Step::More && left.empty()) {
      if (!reader.started()) return out;
      if (!ends) return out + "<more>";
      step = reader.end();
      if (step != Step::End) return out + "<cut>";
    }
    if (step != Step::End) continue;
    const Head& head = reader.head();
    out += (kind == Kind::Request ? head.method + " " + head.target : std::to_string(head.status)) +
           " [" + body + "]\n";
    body.clear();
    reader.next();
    if (ends && left.empty()) return out;
  }
}

struct Row {
  const char* what;
  std::string text;
  std::string wanted;
};

void check(Kind kind, const std::vector<Row>& rows, bool ends = false) {
  for (const Row& row : rows)
    for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, std::size_t{4096}})
      EXPECT_EQ(read_all(kind, row.text, piece, ends), row.wanted) << row.what << " by " << piece;
}

TEST(HttpMessages, Requests) {
  const std::string post = "POST /p HTTP/1.1\r\nHost: x\r\n";
  const std::string get = "GET /g HTTP/1.1\r\nHost: x\r\n";
  check(Kind::Request, {
      {"no body", get + "\r\n", "GET /g []\n"},
      {"pipelined", get + "\r\n" + post + "Content-Length: 3\r\n\r\nabc" + get + "\r\n",
       "GET /g []\nPOST /p [abc]\nGET /g []\n"},
      {"chunked", post + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n"
       "Trailer: dropped\r\n\r\n" + get + "\r\n", "POST /p [abcd]\nGET /g []\n"},
      {"upgrade that is not taken", get + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + get +
       "\r\n", "GET /g []\nGET /g []\n"},
      {"upgrade with a body", post + "Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n"
       "\r\nab" + get + "\r\n", "POST /p [ab]\nGET /g []\n"},
      {"connect", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "CONNECT a:1 []\n"},
      {"behind close", get + "Connection: close\r\n\r\n" + get + "\r\n", "GET /g []\nGET /g []\n"},
      {"empty line first", "\r\n" + get + "\r\n", "GET /g []\n"},
      // RFC 9112 §11.2 and what is known of request smuggling.
      {"CL and TE", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "<400>"},
      {"TE and CL", post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
       "<400>"},
      {"two CL", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "<400>"},
      {"same CL twice", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "<400>"},
      {"CL list", post + "Content-Length: 3, 3\r\n\r\nabc", "<400>"},
      {"signed CL", post + "Content-Length: +3\r\n\r\nabc", "<400>"},
      {"negative CL", post + "Content-Length: -3\r\n\r\nabc", "<400>"},
      {"hexadecimal CL", post + "Content-Length: 0x3\r\n\r\nabc", "<400>"},
      {"empty CL", post + "Content-Length: \r\n\r\nabc", "<400>"},
      {"huge CL", post + "Content-Length: 99999999999999999999\r\n\r\nabc", "<400>"},
      {"two TE", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
       "<400>"},
      {"TE twice in one", post + "Transfer-Encoding: chunked, chunked\r\n\r\n", "<400>"},
      {"TE gzip", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", "<501>"},
      {"TE unknown", post + "Transfer-Encoding: xchunked\r\n\r\n", "<501>"},
      {"TE identity", post + "Transfer-Encoding: identity\r\n\r\n", "<501>"},
      {"TE 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "<400>"},
      {"TE vertical tab", post + "Transfer-Encoding: \x0b" "chunked\r\n\r\n", "<400>"},
      {"blank before colon", post + "Content-Length : 3\r\n\r\nabc", "<400>"},
      {"tab before colon", post + "Transfer-Encoding\t: chunked\r\n\r\n", "<400>"},
      {"folded", post + "A: b\r\n c: d\r\n\r\n", "<400>"},
      {"folded first", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", "<400>"},
      {"bare CR", post + "A: b\rContent-Length: 3\r\n\r\nabc", "<400>"},
      {"bare LF", post + "A: b\nContent-Length: 3\r\n\r\nabc", "<400>"},
      {"bare LF at the end", "GET /g HTTP/1.1\r\nHost: x\n\n", "<400>"},
      {"NUL", post + std::string("A: b\0c\r\n\r\n", 10), "<400>"},
      {"control character", post + "A: b\x01\r\n\r\n", "<400>"},
      {"no name", post + ": b\r\n\r\n", "<400>"},
      {"chunk size", post + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", "<400>"},
      {"chunk size with blank", post + "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
       "<400>"},
      {"long chunk", post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "<400>"},
      {"chunk by LF", post + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", "<400>"},
      {"chunk that overflows", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
       "<400>"},
      {"blank in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "<400>"},
      {"HTTP/0.9", "GET /\r\n\r\n", "<400>"},
      {"HTTP/2", "GET / HTTP/2.0\r\n\r\n", "<400>"},
      {"preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "<400>"},
      {"TLS", "\x16\x03\x01\x02", "<400>"},
      {"half", "GET /g HTT", "<more>"},
      {"half a body", post + "Content-Length: 3\r\n\r\nab", "<more>"},
      {"long head", get + "A: " + std::string(1100, 'x') + "\r\n\r\n", "<too long>"},
      {"long line of a chunk", post + "Transfer-Encoding: chunked\r\n\r\n1;" +
       std::string(1100, 'x') + "\r\n", "<too long>"},
      {"long trailers", post + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: " +
       std::string(1100, 'x') + "\r\n\r\n", "<too long>"},
      {"long body", post + "Content-Length: 3000\r\n\r\n" + std::string(3000, 'x'),
       "POST /p [" + std::string(3000, 'x') + "]\n"},
  });
}

// A stream that has nothing yet is asked as well, and says so with no bytes at no address.
TEST(HttpMessages, NothingWithinABody) {
  const std::string text =
      "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n" + std::string(3000, 'b');
  MessageReader reader(Kind::Request, 1024);
  std::string body;
  bool over = false;
  for (Bytes left = as_bytes(text); !left.empty();) {
    const Step step = reader.read(left.first(std::min<std::size_t>(left.size(), 700)));
    ASSERT_TRUE(step == Step::Head || step == Step::Body || step == Step::More);
    left = left.subspan(reader.used());
    if (step == Step::Body) body += as_text(reader.body());
    if (step != Step::Head) over = reader.read(Bytes{}) == Step::End;
  }
  EXPECT_TRUE(over);
  EXPECT_EQ(body, std::string(3000, 'b'));
}

TEST(HttpMessages, Responses) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  check(Kind::Response, {
      {"length, twice", ok + "Content-Length: 3\r\n\r\nabc" + ok + "Content-Length: 0\r\n\r\n",
       "200 [abc]\n200 []\n"},
      {"interim", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx",
       "103 []\n200 [x]\n"},
      {"no reason", "HTTP/1.1 204\r\n\r\n", "204 []\n"},
      {"304 with a length", "HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n" + ok +
       "Content-Length: 0\r\n\r\n", "304 []\n200 []\n"},
      {"101", "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "101 []\n"},
      {"chunked", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200 [abc]\n"},
      {"CL and TE", ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "<400>"},
      {"to the close", ok + "\r\nabc", "<more>"},
      {"not HTTP", "220 mail.test ESMTP\r\n", "<400>"},
      {"status", "HTTP/1.1 999 X\r\n\r\n", "<400>"},
  });
  check(Kind::Response, {
      {"to the close", ok + "\r\nabc", "200 [abc]\n"},
      {"1.0", "HTTP/1.0 200 OK\r\n\r\nabc", "200 [abc]\n"},
      {"cut length", ok + "Content-Length: 3\r\n\r\nab", "<cut>"},
      {"cut chunk", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nab", "<cut>"},
      {"cut between chunks", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "<cut>"},
      {"cut head", ok, "<cut>"},
  }, true);
  EXPECT_EQ(read_all(Kind::Response, ok + "Content-Length: 3\r\n\r\n", 4096, false, true),
            "200 []\n");
  EXPECT_EQ(read_all(Kind::Response, ok + "Transfer-Encoding: chunked\r\n\r\n", 3, false, true),
            "200 []\n");
}

// Asking without bytes, as when nothing has come yet, changes nothing wherever it is done.
TEST(HttpMessages, NothingMayBeRead) {
  const std::string text = "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
  MessageReader reader(Kind::Request);
  std::string body;
  for (const char& c : text) {
    ASSERT_EQ(reader.read(Bytes()), Step::More) << body;
    const Step step = reader.read(as_bytes({&c, 1}));
    EXPECT_EQ(reader.used(), 1u);
    if (step == Step::Body) body += as_text(reader.body());
  }
  EXPECT_EQ(body, "abc");
  EXPECT_EQ(reader.head().target, "/p");
  EXPECT_EQ(reader.head().field("content-length"), "3");
  EXPECT_EQ(reader.read(Bytes()), Step::End);
}

TEST(HttpMessages, KeepAlive) {
  const auto keeps = [](std::string_view version, std::string_view field) {
    MessageReader reader(Kind::Request);
    const std::string text =
        "GET / " + std::string(version) + "\r\nHost: x\r\n" + std::string(field) + "\r\n";
    EXPECT_EQ(reader.read(as_bytes(text)), Step::Head);
    return reader.head().keep_alive();
  };
  EXPECT_TRUE(keeps("HTTP/1.1", ""));
  EXPECT_FALSE(keeps("HTTP/1.1", "Connection: foo, Close\r\n"));
  EXPECT_FALSE(keeps("HTTP/1.0", ""));
  EXPECT_TRUE(keeps("HTTP/1.0", "Connection: keep-alive\r\n"));
}

TEST(HttpMessages, WhereARequestGoes) {
  struct Target {
    const char *method, *target, *host;  // host null: no such field
    const char* wanted;                  // null: refused
  };
  const Target rows[] = {
      {"GET", "/a?b", "X.test", "https x.test /a?b"},
      {"GET", "/", "[::1]:8443", "https [::1]:8443 /"},
      {"GET", "http://A.test:1/p?q", "other", "http a.test:1 /p?q"},
      {"GET", "https://a.test", "a.test", "https a.test /"},
      {"GET", "https://a.test?q", "a.test", "https a.test /?q"},
      {"OPTIONS", "*", "a", "https a *"},
      {"CONNECT", "a.test:443", "a.test:443", "https a.test:443 "},
      {"GET", "*", "a", nullptr},
      {"GET", "/a#b", "a", nullptr},
      {"GET", "ftp://a/", "a", nullptr},
      {"GET", "/", nullptr, nullptr},
      {"GET", "/", "a b", nullptr},
      {"GET", "/", "a/b", nullptr},
      {"GET", "/", "me@a", nullptr},
      {"GET", "/", "a,b", nullptr},
      {"GET", "x", "a", nullptr},
      {"GET", "/\x7f", "a", nullptr},
      {"GET", "/\xc3\xa9", "a", nullptr},
      {"GET", "https://a#b", "a", nullptr},
      {"OPTIONS", "https://a.test", "a.test", "https a.test /"},
      {"CONNECT", "a.test/x", "a", nullptr},
  };
  for (const Target& row : rows) {
    Head head;
    head.method = row.method;
    head.target = row.target;
    if (row.host != nullptr) head.fields.push_back({"host", row.host});
    const auto out = request_of(head, "https");
    ASSERT_EQ(static_cast<bool>(out), row.wanted != nullptr) << row.target;
    if (!out) continue;
    EXPECT_EQ(out->scheme + " " + out->authority + " " + out->target, row.wanted);
    EXPECT_FALSE(http::has(out->fields, "host"));
  }
  Head two;
  two.target = "/";
  two.fields = {{"host", "a"}, {"host", "a"}};
  EXPECT_FALSE(request_of(two, "https"));
  Head old;
  old.target = "/";
  old.minor_version = 0;
  EXPECT_TRUE(request_of(old, "https"));
}

TEST(HttpFields, HopByHopAndLists) {
  http::Fields f = {{"connection", "close, X-Own"}, {"x-own", "1"}, {"keep-alive", "1"},
                    {"te", "trailers"},             {"accept", "a"}, {"upgrade", "x"}};
  EXPECT_TRUE(http::lists(f, "connection", "x-oWN"));
  EXPECT_FALSE(http::lists(f, "connection", "x-ow"));
  http::remove_hop_by_hop(f);
  EXPECT_EQ(f, (http::Fields{{"accept", "a"}}));
  EXPECT_EQ(http::date_text(WallTime{784111777'000'000'000}), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(http::reason(421), "Misdirected Request");
  EXPECT_EQ(http::reason(299), "");
}

}  // namespace
}  // namespace adit::http1
