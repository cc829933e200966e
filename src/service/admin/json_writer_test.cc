#include "service/admin/json_writer.h"

#include <gtest/gtest.h>

#include <limits>

namespace adit::service {
namespace {

TEST(JsonWriter, NestsAndSeparates) {
  JsonWriter json;
  json.begin_object();
  json.string("a", "x");
  json.begin_array("empty");
  json.end();
  json.begin_array("list");
  json.element(1);
  json.string("two");
  json.begin_object();
  json.end();
  json.begin_array();
  json.element(3);
  json.end();
  json.end();
  json.begin_object("o");
  json.boolean("yes", true);
  json.boolean("no", false);
  json.null("nothing");
  json.end();
  json.number("last", std::uint64_t{18446744073709551615u});
  json.end();
  EXPECT_EQ(std::move(json).text(),
            R"({"a":"x","empty":[],"list":[1,"two",{},[3]],)"
            R"("o":{"yes":true,"no":false,"nothing":null},"last":18446744073709551615})"
            "\n");
}

TEST(JsonWriter, EscapesKeysAndValues) {
  JsonWriter json;
  json.begin_object();
  json.string("k\"\n", "v\\\x01\xff");
  json.end();
  EXPECT_EQ(std::move(json).text(), "{\"k\\\"\\u000a\":\"v\\\\\\u0001\\ufffd\"}\n");
}

TEST(JsonWriter, Decimals) {
  struct Case {
    double value;
    std::string_view text;
  };
  for (const Case& c : {Case{0, "0"}, Case{1.5, "1.5"}, Case{-12.3456, "-12.346"}, Case{100, "100"},
                        Case{0.0004, "0"}, Case{std::numeric_limits<double>::infinity(), "null"},
                        Case{std::numeric_limits<double>::quiet_NaN(), "null"}}) {
    JsonWriter json;
    json.begin_object();
    json.decimal("d", c.value);
    json.end();
    EXPECT_EQ(std::move(json).text(), "{\"d\":" + std::string(c.text) + "}\n");
  }
}

}  // namespace
}  // namespace adit::service
