// Log lines as events: a stable name and fields. The sink decides the form (text or JSON) and the
// place; this room only builds the line.
#pragma once

#include <cstdint>
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/time.h"

namespace adit {

enum class LogLevel : std::uint8_t { Debug, Info, Warn, Error };

struct LogField {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;
  std::string_view key;
  Value value;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  LogField(std::string_view k, std::integral auto v) : key(k) {
    if constexpr (std::is_signed_v<decltype(v)>) {
      value = static_cast<std::int64_t>(v);
    } else {
      value = static_cast<std::uint64_t>(v);
    }
  }
};

using LogFields = std::initializer_list<LogField>;

// `event` is "room.what_happened", stable across releases. Not safe for two threads at once unless
// the implementation says so.
class Log {
 public:
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view event, LogFields fields) = 0;

  void debug(std::string_view event, LogFields f = {}) { write(LogLevel::Debug, event, f); }
  void info(std::string_view event, LogFields f = {}) { write(LogLevel::Info, event, f); }
  void warn(std::string_view event, LogFields f = {}) { write(LogLevel::Warn, event, f); }
  void error(std::string_view event, LogFields f = {}) { write(LogLevel::Error, event, f); }
};

class NullLog final : public Log {
 public:
  void write(LogLevel, std::string_view, LogFields) override {}
};

// `{"time":"…","level":"info","event":"link.up",…}`; control characters and bad UTF-8 are escaped,
// so a hostile name cannot forge a line. No line end.
std::string format_json(WallTime when, LogLevel level, std::string_view event, LogFields fields);
// `2026-01-02T03:04:05.678Z INFO  link.up key=value key="with blanks"`.
std::string format_text(WallTime when, LogLevel level, std::string_view event, LogFields fields);
void append_json_string(std::string& out, std::string_view s);

// One line a key and a minute: for what a hostile source could repeat. Holds a bounded table; what
// it held back is said in `suppressed` when the key speaks again.
class LogRateLimit {
 public:
  // Number of lines held back since the last one for this key, or -1: hold this one back too.
  std::int64_t admit(Instant now, std::uint64_t key);

 private:
  struct Slot {
    std::uint64_t key = 0;
    Instant until;
    std::int64_t held = 0;
  };
  static constexpr std::size_t kSlots = 1024;
  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
};

}  // namespace adit
