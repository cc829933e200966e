#include "proto/http/response_reader.h"

#include <gtest/gtest.h>

#include "base/limits_acme.h"
#include "proto/http/url.h"

namespace adit::http {
namespace {

struct Outcome {
  std::string verdict;  // "more", "done", or the error
  Response response;
};

Outcome read(std::string_view text, std::size_t piece, bool ends, bool to_head = false) {
  ResponseReader reader(to_head);
  Result<ResponseReader::Need> last = ResponseReader::Need::More;
  for (Bytes in = as_bytes(text); !in.empty() && last; in = in.subspan(std::min(piece, in.size())))
    last = reader.feed(in.first(std::min(piece, in.size())));
  if (last && *last == ResponseReader::Need::More && ends) last = reader.end();
  if (!last) return {last.error().what, {}};
  if (*last == ResponseReader::Need::More) return {"more", {}};
  return {"done", reader.response()};
}

struct Row {
  const char* what;
  std::string text;
  bool ends;
  int status;  // 0: an error, or more is needed
  std::string body;
};

TEST(ResponseReader, Table) {
  const std::string ok = "HTTP/1.1 200 OK\r\n", te = ok + "Transfer-Encoding: ";
  const Row rows[] = {
      {"length", ok + "Content-Length: 3\r\n\r\nabc", false, 200, "abc"},
      {"no body", ok + "Content-Length: 0\r\n\r\n", false, 200, ""},
      {"no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", false, 200, "x"},
      {"to the end", ok + "\r\nabc", true, 200, "abc"},
      {"HTTP/1.0", "HTTP/1.0 404 No\r\n\r\n", true, 404, ""},
      {"chunked", te + "chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n",
       false, 200, "abcd"},
      {"interim", "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx",
       false, 200, "x"},
      {"204", "HTTP/1.1 204 None\r\n\r\n", false, 204, ""},
      {"behind it", ok + "Content-Length: 1\r\n\r\nxyz", false, 200, "x"},
      {"lone LF", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", false, 0, ""},
      {"same length twice", ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", false, 0,
       ""},
      {"cut head", ok, true, 0, ""},
      {"cut body", ok + "Content-Length: 3\r\n\r\nab", true, 0, ""},
      {"cut chunk", te + "chunked\r\n\r\n3\r\nab", true, 0, ""},
      {"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", false, 0, ""},
      {"length and coding", ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false,
       0, ""},
      {"two codings", te + "x\r\nTransfer-Encoding: chunked\r\n\r\n", false, 0, ""},
      {"other coding", te + "gzip, chunked\r\n\r\n", false, 0, ""},
      {"signed length", ok + "Content-Length: +1\r\n\r\nx", false, 0, ""},
      {"negative length", ok + "Content-Length: -1\r\n\r\nx", false, 0, ""},
      {"huge length", ok + "Content-Length: 99999999999999999999\r\n\r\n", false, 0, ""},
      {"over 1 MiB", ok + "Content-Length: 1048577\r\n\r\n", false, 0, ""},
      {"folded", ok + "A: b\r\n c\r\n\r\n", false, 0, ""},
      {"blank before colon", ok + "A : b\r\n\r\n", false, 0, ""},
      {"chunk size", te + "chunked\r\n\r\nzz\r\n", false, 0, ""},
      {"long chunk", te + "chunked\r\n\r\n1\r\nab\r\n", false, 0, ""},
      {"not HTTP", "220 mail.test ESMTP\r\n", false, 0, ""},
      {"HTTP/2", "HTTP/2 200\r\n\r\n", false, 0, ""},
      {"status", "HTTP/1.1 999 X\r\n\r\n", false, 0, ""},
      {"switch", "HTTP/1.1 101 X\r\n\r\n", false, 0, ""},
      {"control character", ok + "A: \x01\r\n\r\n", false, 0, ""},
  };
  for (const Row& row : rows) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
      const Outcome got = read(row.text, piece, row.ends);
      if (row.status == 0) {
        EXPECT_NE(got.verdict, "done") << row.what;
        EXPECT_NE(got.verdict, "more") << row.what;
        continue;
      }
      EXPECT_EQ(got.verdict, "done") << row.what;
      EXPECT_EQ(got.response.status, row.status) << row.what;
      EXPECT_EQ(got.response.body, row.body) << row.what;
    }
  }
}

TEST(ResponseReader, HeadHasNoBody) {
  const auto got =
      read("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nReplay-Nonce:  abc \r\n\r\n", 5, false, true);
  EXPECT_EQ(got.verdict, "done");
  EXPECT_EQ(got.response.field("replay-nonce"), "abc");
  EXPECT_EQ(got.response.field("nothing"), "");
}

TEST(ResponseReader, IsBounded) {
  const std::string line(1000, 'x');
  std::string head = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 40; ++i) head += "A: " + line + "\r\n";
  EXPECT_EQ(read(head, 512, false).verdict, "not a response of HTTP/1.1: a head over 32 KiB");
  const std::string body(limits::kHttpBodyBytesMax + 1, 'x');
  EXPECT_EQ(read("HTTP/1.1 200 OK\r\n\r\n" + body, 65536, true).verdict,
            "not a response of HTTP/1.1: a body over 1 MiB");
  // An endless line of a chunk.
  const std::string chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
  EXPECT_EQ(read(chunk + std::string(40'000, 'x'), 512, false).verdict,
            "not a response of HTTP/1.1: a head over 32 KiB");
}

TEST(Url, Table) {
  struct UrlRow {
    const char* text;
    const char* host;  // null: refused
    int port;
    const char* target;
    const char* authority;
  };
  const UrlRow rows[] = {
      {"https://ca.test/directory", "ca.test", 443, "/directory", "ca.test"},
      {"HTTPS://ca.test", "ca.test", 443, "/", "ca.test"},
      {"https://ca.test:14000/dir?a=b#c", "ca.test", 14000, "/dir?a=b", "ca.test:14000"},
      {"https://ca.test?x", "ca.test", 443, "/?x", "ca.test"},
      {"https://[::1]:14000/d", "::1", 14000, "/d", "[::1]:14000"},
      {"https://127.0.0.1/d", "127.0.0.1", 443, "/d", "127.0.0.1"},
      {"http://ca.test/", nullptr, 0, "", ""},
      {"https://", nullptr, 0, "", ""},
      {"https://me@ca.test/", nullptr, 0, "", ""},
      {"https://ca.test:0/", nullptr, 0, "", ""},
      {"https://3000/", nullptr, 0, "", ""},
      {"https://ca.test/a b", nullptr, 0, "", ""},
      {"https://ca.test/\r\nX: y", nullptr, 0, "", ""},
      {"", nullptr, 0, "", ""},
  };
  for (const UrlRow& row : rows) {
    const auto url = parse_https_url(row.text);
    ASSERT_EQ(static_cast<bool>(url), row.host != nullptr) << row.text;
    if (!url) continue;
    EXPECT_EQ(url->to.host, row.host);
    EXPECT_EQ(url->to.port, row.port);
    EXPECT_EQ(url->target, row.target);
    EXPECT_EQ(url->authority(), row.authority);
  }
  EXPECT_FALSE(parse_https_url("https://a.test/" + std::string(3000, 'x')));
}

}  // namespace
}  // namespace adit::http
