#include "service/admin/json_writer.h"

#include <fmt/format.h>

#include <cmath>

#include "base/check.h"
#include "base/log.h"

namespace adit::service {

void JsonWriter::begin(std::string_view key, char bracket) {
  separate(key);
  out_ += bracket;
  open_.push_back(bracket == '{' ? '}' : ']');
  first_ = true;
}

void JsonWriter::end() {
  CHECK(!open_.empty());
  out_ += open_.back();
  open_.pop_back();
  first_ = false;
}

void JsonWriter::string(std::string_view key, std::string_view value) {
  separate(key);
  append_json_string(out_, value);
}

void JsonWriter::decimal(std::string_view key, double value) {
  if (!std::isfinite(value)) return null(key);  // RFC 8259 §6 has no word for it
  std::string text = fmt::format("{:.3f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  literal(key, text);
}

void JsonWriter::literal(std::string_view key, std::string_view value) {
  separate(key);
  out_ += value;
}

void JsonWriter::separate(std::string_view key) {
  if (!first_) out_ += ',';
  first_ = false;
  const bool in_object = !open_.empty() && open_.back() == '}';
  CHECK(in_object == !key.empty());
  if (!in_object) return;
  append_json_string(out_, key);
  out_ += ':';
}

std::string JsonWriter::text() && {
  CHECK(open_.empty());
  out_ += '\n';
  return std::move(out_);
}

}  // namespace adit::service
