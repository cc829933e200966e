#include "route/name.h"

#include <gtest/gtest.h>

namespace adit::route {
namespace {

TEST(Name, HasOneCanonicalForm) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + label.substr(0, 61);
  const struct {
    std::string text;
    const char* canonical;  // null: refused
    const char* why = "";
  } rows[] = {
      {"example.com", "example.com"},
      {"EXAMPLE.Com.", "example.com"},
      {"localhost", "localhost"},
      {"a_b.x-y.example", "a_b.x-y.example"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example"},
      {"1.example", "1.example"},
      {longest, longest.c_str()},
      {label + "a.example", nullptr, "a label has more than 63 bytes"},
      {longest + "b", nullptr, "over 253 bytes"},
      {"", nullptr, "it is empty"},
      {".", nullptr, "it is empty"},
      {"a..b", nullptr, "empty label"},
      {".a", nullptr, "empty label"},
      {"a..", nullptr, "empty label"},
      {"-a.example", nullptr, "a label starts with a hyphen"},
      {"a-.example", nullptr, "a label ends with a hyphen"},
      {"example.a-", nullptr, "a label ends with a hyphen"},
      {"b\xc3\xbc""cher.example", nullptr,
       "only letters, digits, hyphens, underscores and dots are allowed"},
      {"a b", nullptr, "only letters, digits, hyphens, underscores and dots are allowed"},
      {std::string("a\0b", 3), nullptr,
       "only letters, digits, hyphens, underscores and dots are allowed"},
      {"192.0.2.1", nullptr, "the last label is a number"},
      {"2001:db8::1", nullptr, "only letters, digits, hyphens, underscores and dots are allowed"},
      {"*.example.com", nullptr, "only letters, digits, hyphens, underscores and dots are allowed"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto name = parse_name(row.text);
    ASSERT_EQ(static_cast<bool>(name), row.canonical != nullptr);
    if (name) {
      EXPECT_EQ(*name, row.canonical);
    } else {
      EXPECT_TRUE(name.error().what.ends_with(std::string(": ") + row.why)) << name.error().what;
    }
  }
}

TEST(Name, PatternIsANameOrAStarBeforeOne) {
  EXPECT_EQ(*parse_pattern("*.Example.com."), "*.example.com");
  EXPECT_EQ(*parse_pattern("Example.com"), "example.com");
  for (const char* bad : {"*", "*.", "*.*.a", "a.*.b", "x*.a", "**.a", "*.192.0.2.1", "*a"})
    EXPECT_FALSE(parse_pattern(bad)) << bad;
  EXPECT_FALSE(parse_pattern("*." + std::string(50, 'a') + "." + std::string(63, 'a') + "." +
                             std::string(63, 'a') + "." + std::string(63, 'a') + ".aaaaaaaaa"));
}

TEST(Name, StarStandsForOneLabel) {
  const struct {
    const char* pattern;
    const char* name;
    bool match;
  } rows[] = {
      {"a.example.com", "a.example.com", true},
      {"a.example.com", "b.example.com", false},
      {"*.example.com", "a.example.com", true},
      {"*.example.com", "example.com", false},
      {"*.example.com", "b.a.example.com", false},
      {"*.example.com", "aexample.com", false},
      {"*.example.com", ".example.com", false},
      {"*.example.com", "*.example.com", true},
      {"*.com", "example.com", true},
      {"*.com", "*.com", true},
      {"*.a.com", "*.com", false},
      {"*.com", "com", false},
  };
  for (const auto& row : rows)
    EXPECT_EQ(matches(row.pattern, row.name), row.match) << row.pattern << " " << row.name;
}

TEST(Name, WildcardOfANameMatchesIt) {
  EXPECT_EQ(wildcard_of("a.b.c"), "*.b.c");
  EXPECT_EQ(wildcard_of("a"), std::nullopt);
  EXPECT_EQ(wildcard_of("*.b.c"), std::nullopt);
  EXPECT_TRUE(matches(*wildcard_of("x.example"), "x.example"));
}

}  // namespace
}  // namespace adit::route
