#include "base/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace adit {

namespace {

std::string timestamp(WallTime when) {
  const std::time_t seconds = static_cast<std::time_t>(when.seconds());
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", utc, when.ns / 1'000'000 % 1000);
}

std::string_view name(LogLevel level) {
  switch (level) {
    case LogLevel::Debug: return "debug";
    case LogLevel::Info: return "info";
    case LogLevel::Warn: return "warn";
    case LogLevel::Error: return "error";
  }
  return "error";
}

// Length of the valid UTF-8 sequence at the start of `s` (RFC 3629), 0 if there is none.
std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(0);
  const std::size_t n = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3
                      : lead < 0xf5 ? 4 : 0;
  if (n == 0 || s.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ||
      (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f))
    return 0;
  return n;
}

bool needs_quotes(std::string_view s) {
  if (s.empty()) return true;
  for (char c : s)
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || static_cast<unsigned char>(c) >= 0x7f)
      return true;
  return false;
}

void append_value(std::string& out, const LogField::Value& value, bool json) {
  if (const auto* s = std::get_if<std::string_view>(&value)) {
    if (json || needs_quotes(*s)) return append_json_string(out, *s);
    out += *s;
  } else if (const auto* i = std::get_if<std::int64_t>(&value)) {
    out += std::to_string(*i);
  } else if (const auto* u = std::get_if<std::uint64_t>(&value)) {
    out += std::to_string(*u);
  } else if (const auto* d = std::get_if<double>(&value)) {
    out += fmt::format("{}", *d);
  } else {
    out += std::get<bool>(value) ? "true" : "false";
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view s) {
  out += '"';
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    const char c = s[0];
    if (n == 0) {
      out += "\\ufffd";
    } else if (n > 1) {
      out += s.substr(0, n);
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
    s.remove_prefix(n == 0 ? 1 : n);
  }
  out += '"';
}

std::string format_json(WallTime when, LogLevel level, std::string_view event, LogFields fields) {
  std::string out =
      fmt::format(R"({{"time":"{}","level":"{}","event":)", timestamp(when), name(level));
  append_json_string(out, event);
  for (const LogField& f : fields) {
    out += ',';
    append_json_string(out, f.key);
    out += ':';
    append_value(out, f.value, true);
  }
  out += '}';
  return out;
}

std::string format_text(WallTime when, LogLevel level, std::string_view event, LogFields fields) {
  std::string out = fmt::format("{} {:<5} {}", timestamp(when), name(level), event);
  for (const LogField& f : fields) {
    out += ' ';
    out += f.key;
    out += '=';
    append_value(out, f.value, false);
  }
  return out;
}

std::int64_t LogRateLimit::admit(Instant now, std::uint64_t key) {
  Slot& slot = slots_[key % kSlots];
  if (slot.key == key && now < slot.until) {
    ++slot.held;
    return -1;
  }
  const std::int64_t held = slot.key == key ? slot.held : 0;
  slot = Slot{key, now + 1min, 0};
  return held;
}

}  // namespace adit
