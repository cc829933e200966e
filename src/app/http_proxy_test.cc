#include "app/http_proxy.h"

#include <gtest/gtest.h>

namespace adit::app {
namespace {

TEST(HttpProxy, Urls) {
  struct Case {
    const char* url;
    const char* address;  // empty: an error
    const char* authorization;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"http://proxy.example:3128", "proxy.example:3128", ""},
           {"HTTP://proxy.example", "proxy.example:80", ""},
           {"proxy.example:8080", "proxy.example:8080", ""},
           {"http://[2001:db8::1]:3128/", "[2001:db8::1]:3128", ""},
           {"http://user:pass@proxy.example:3128/", "proxy.example:3128", "Basic dXNlcjpwYXNz"},
           {"http://us%40er:p%3ass@h:1", "h:1", "Basic dXNAZXI6cDpzcw=="},
           {"https://proxy.example", "", ""},
           {"socks5://proxy.example", "", ""},
           {"http://", "", ""},
           {"http://user%0d%0aX:y@h:1", "", ""},
           {"http://user%4@h:1", "", ""}}) {
    const auto proxy = parse_http_proxy(c.url);
    ASSERT_EQ(static_cast<bool>(proxy), *c.address != '\0') << c.url;
    if (!proxy) continue;
    EXPECT_EQ(proxy->address.text(), c.address) << c.url;
    EXPECT_EQ(proxy->authorization, c.authorization) << c.url;
  }
}

TEST(HttpProxy, PasswordsAreNotShown) {
  EXPECT_EQ(without_password("http://user:pass@h:1"), "http://...@h:1");
  EXPECT_EQ(without_password("user:pass@h:1"), "...@h:1");
  EXPECT_EQ(without_password("http://h:1"), "http://h:1");
}

TEST(HttpProxy, WhatIsReachedDirectly) {
  const auto direct = [](const char* list, const char* host) { return bypasses_proxy(list, host); };
  EXPECT_TRUE(direct("*", "t.example.com"));
  EXPECT_TRUE(direct("localhost, .example.com", "T.Example.com"));
  EXPECT_TRUE(direct("example.com", "example.com"));
  EXPECT_TRUE(direct("example.com", "a.b.example.com"));
  EXPECT_FALSE(direct("example.com", "anexample.com"));
  EXPECT_FALSE(direct("", "example.com"));
  EXPECT_FALSE(direct(",,", "example.com"));
  EXPECT_TRUE(direct("127.0.0.1", "127.0.0.1"));
  EXPECT_TRUE(direct("10.0.0.0/8,::1", "10.1.2.3"));
  EXPECT_TRUE(direct("10.0.0.0/8,::1", "::1"));
  EXPECT_FALSE(direct("10.0.0.0/8", "11.1.2.3"));
}

}  // namespace
}  // namespace adit::app
