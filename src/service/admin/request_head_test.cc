#include "service/admin/request_head.h"

#include <gtest/gtest.h>

namespace adit::service {
namespace {

using Verdict = RequestHead::Verdict;

TEST(RequestHead, AnyFragmentation) {
  constexpr std::string_view kText =
      "GET /status?x=1 HTTP/1.1\r\nHost: adit\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
  for (std::size_t cut = 0; cut <= kText.size(); ++cut) {
    RequestHead head;
    Verdict verdict = head.feed(as_bytes(kText.substr(0, cut)));
    if (cut < kText.size()) {
      ASSERT_EQ(verdict, Verdict::More) << cut;
      verdict = head.feed(as_bytes(kText.substr(cut)));
    }
    ASSERT_EQ(verdict, Verdict::Done) << cut;
    EXPECT_EQ(head.method(), "GET");
    EXPECT_EQ(head.path(), "/status");
  }
  RequestHead head;
  for (std::size_t i = 0; i < kText.size(); ++i) {
    const Verdict expected = i + 1 == kText.size() ? Verdict::Done : Verdict::More;
    ASSERT_EQ(head.feed(as_bytes(kText.substr(i, 1))), expected) << i;
  }
}

struct Case {
  std::string_view text;
  Verdict verdict;
  std::string_view fault = {};
};

class RequestHeadTable : public testing::TestWithParam<Case> {};

TEST_P(RequestHeadTable, Verdict) {
  RequestHead head;
  EXPECT_EQ(head.feed(as_bytes(GetParam().text)), GetParam().verdict) << GetParam().text;
  EXPECT_EQ(head.fault(), GetParam().fault) << GetParam().text;
}

constexpr std::string_view kFirstLine = "the first line is not METHOD PATH HTTP/1.1";
constexpr std::string_view kField = "a field is not NAME: VALUE";

INSTANTIATE_TEST_SUITE_P(
    All, RequestHeadTable,
    testing::Values(
        Case{"", Verdict::More},
        Case{"GET / HTTP/1.0\r\n\r\n", Verdict::Done},
        Case{"GET / HTTP/1.0\n\n", Verdict::Done},
        Case{"GET / HTTP/1.0\n\nrest", Verdict::Done},
        Case{"POST /reload HTTP/1.1\r\nhOsT:\r\nContent-Length: 3\r\n\r\nabc", Verdict::Done},
        Case{"GET / HTTP/1.1\r\nHost: a\r\nX: \tb \x80\xff\r\n\r\n", Verdict::Done},
        Case{"GET / HTTP/1.1\r\nHost: a\r\n", Verdict::More},
        Case{"GET / HTTP/1.1\r\n\r\n", Verdict::Malformed,
             "a request of HTTP/1.1 has a Host field"},
        Case{"GET / HTTP/2.0\r\n\r\n", Verdict::Malformed, "the version is not HTTP/1.1"},
        Case{"GET / http/1.1\r\n\r\n", Verdict::Malformed, "the version is not HTTP/1.1"},
        Case{"GET /\r\n\r\n", Verdict::Malformed, kFirstLine},
        Case{"GET\r\n\r\n", Verdict::Malformed, kFirstLine},
        Case{"GET  HTTP/1.1\r\n\r\n", Verdict::Malformed, "the path does not begin with /"},
        Case{"GET / x HTTP/1.1\r\n\r\n", Verdict::Malformed, "the path does not begin with /"},
        Case{"GET * HTTP/1.1\r\n\r\n", Verdict::Malformed, "the path does not begin with /"},
        Case{"GET http://a/ HTTP/1.1\r\n\r\n", Verdict::Malformed,
             "the path does not begin with /"},
        Case{"GET /\x01 HTTP/1.0\r\n\r\n", Verdict::Malformed, "the path does not begin with /"},
        Case{"G(T / HTTP/1.0\r\n\r\n", Verdict::Malformed, "the method is not a word"},
        Case{"GET / HTTP/1.0\r\nno colon\r\n\r\n", Verdict::Malformed, kField},
        Case{"GET / HTTP/1.0\r\nHost : a\r\n\r\n", Verdict::Malformed, kField},
        Case{"GET / HTTP/1.0\r\nX: a\r\n folded\r\n\r\n", Verdict::Malformed, kField},
        Case{"GET / HTTP/1.0\r\n: a\r\n\r\n", Verdict::Malformed, kField},
        Case{"GET / HTTP/1.0\r\nX: a\rb\r\n\r\n", Verdict::Malformed, kField},
        Case{std::string_view("GET / HTTP/1.0\r\nX: \0\r\n\r\n", 24), Verdict::Malformed, kField},
        Case{"\r\nGET / HTTP/1.0\r\n\r\n", Verdict::Malformed, "this is not HTTP"},
        Case{" GET / HTTP/1.0\r\n\r\n", Verdict::Malformed, "this is not HTTP"},
        Case{"\x16\x03\x01\x02", Verdict::Malformed, "this is not HTTP"}));

TEST(RequestHead, Bound) {
  constexpr std::string_view kStart = "GET / HTTP/1.0\r\nX: ";
  const auto of_size = [&](std::size_t n) {
    return std::string(kStart) + std::string(n - kStart.size() - 4, 'x') + "\r\n\r\n";
  };
  RequestHead fits(100), too_long(100), endless(100);
  EXPECT_EQ(fits.feed(as_bytes(of_size(100))), Verdict::Done);
  EXPECT_EQ(too_long.feed(as_bytes(of_size(101))), Verdict::TooLong);
  EXPECT_EQ(endless.feed(as_bytes(std::string(100, 'x'))), Verdict::More);
  EXPECT_EQ(endless.feed(as_bytes("x")), Verdict::TooLong);
}

}  // namespace
}  // namespace adit::service
