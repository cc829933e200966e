// Log lines to a descriptor, as text or JSON: one write(2) a line, from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

#include "app/config.h"
#include "base/log.h"

namespace adit::app {

class LogSink final : public Log {
 public:
  // What a line may have, its end included; the rest is cut off.
  static constexpr std::size_t kLineBytesMax = 16 * 1024;

  // `fd` is borrowed. `wall_time` is called on the thread that writes. `colour`: text by severity.
  LogSink(int fd, const LogConfig& config, bool colour, std::function<WallTime()> wall_time);

  // Safe for several threads at once. Waits for the reader of the descriptor, as stderr does. What
  // cannot be written is counted and otherwise forgotten: there is nowhere to say it.
  void write(LogLevel level, std::string_view event, LogFields fields) override;

  // Lines below are dropped; another thread may be writing.
  void set_level(LogLevel level) { level_.store(level, std::memory_order_relaxed); }
  std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  const int fd_;
  const LogFormat format_;
  const bool colour_;
  const std::function<WallTime()> wall_time_;
  std::atomic<LogLevel> level_;
  std::atomic<std::uint64_t> lost_{0};
};

// Whether text on `fd` should be coloured: a terminal, and neither NO_COLOR nor TERM=dumb
// (https://no-color.org).
bool wants_colour(int fd, const Environment& environment);

}  // namespace adit::app
