// Writes JSON (RFC 8259): no values in memory, commas and escapes by itself. Nesting is the
// caller's to get right; text() checks that it was.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace adit::service {

class JsonWriter {
 public:
  // Inside an object every value has a key, inside an array none has.
  void begin_object(std::string_view key = {}) { begin(key, '{'); }
  void begin_array(std::string_view key = {}) { begin(key, '['); }
  void end();

  void string(std::string_view key, std::string_view value);
  void string(std::string_view value) { string({}, value); }
  void number(std::string_view key, std::integral auto value) {
    literal(key, std::to_string(value));
  }
  // Three decimals, without trailing zeros.
  void decimal(std::string_view key, double value);
  void boolean(std::string_view key, bool value) { literal(key, value ? "true" : "false"); }
  void null(std::string_view key) { literal(key, "null"); }
  // Numbers of an array.
  void element(std::integral auto value) { literal({}, std::to_string(value)); }

  // All of it, and a line end; every begin has had its end.
  std::string text() &&;

 private:
  void begin(std::string_view key, char bracket);
  void literal(std::string_view key, std::string_view value);
  void separate(std::string_view key);

  std::string out_;
  std::vector<char> open_;  // the brackets to come, outermost first
  bool first_ = true;       // in what is open innermost
};

}  // namespace adit::service
