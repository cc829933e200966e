#include "app/log_sink.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace adit::app {

namespace {

std::string_view colour_of(LogLevel level) {
  switch (level) {
    case LogLevel::Debug: return "\x1b[2m";
    case LogLevel::Info: return "";
    case LogLevel::Warn: return "\x1b[33m";
    case LogLevel::Error: return "\x1b[31m";
  }
  return "";
}

// False when the descriptor does not take the line, or not all of it.
bool write_line(int fd, std::string_view line) {
  // A signal or a descriptor left nonblocking by another program: try again, but not for ever.
  for (int attempt = 0; attempt < 100; ++attempt) {
    const ssize_t n = ::write(fd, line.data(), line.size());
    if (n >= 0) line.remove_prefix(static_cast<std::size_t>(n));
    if (line.empty()) return true;
    if (n >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN) return false;
    pollfd writable{fd, POLLOUT, 0};
    if (::poll(&writable, 1, 1000) == 0) return false;
  }
  return false;
}

}  // namespace

LogSink::LogSink(int fd, const LogConfig& config, bool colour, std::function<WallTime()> wall_time)
    : fd_(fd),
      format_(config.format),
      colour_(colour && config.format == LogFormat::Text),
      wall_time_(std::move(wall_time)),
      level_(config.level) {}

void LogSink::write(LogLevel level, std::string_view event, LogFields fields) {
  if (level < level_.load(std::memory_order_relaxed)) return;
  const WallTime now = wall_time_();
  std::string line = format_ == LogFormat::Json ? format_json(now, level, event, fields)
                                                : format_text(now, level, event, fields);
  constexpr std::size_t kTextBytesMax = kLineBytesMax - 16;  // colours and the line's end
  if (line.size() > kTextBytesMax && format_ == LogFormat::Json) {
    // A JSON line that is cut is no JSON: better a short one that says so.
    line = format_json(now, level, event.substr(0, 256), {{"cut_bytes", line.size()}});
  } else if (line.size() > kTextBytesMax) {
    constexpr std::string_view kCut = "...";
    line.resize(kTextBytesMax - kCut.size());
    line += kCut;
  }
  const std::string_view colour = colour_ ? colour_of(level) : "";
  if (!colour.empty()) line = std::string(colour) + line + "\x1b[0m";
  line += '\n';
  if (!write_line(fd_, line)) lost_.fetch_add(1, std::memory_order_relaxed);
}

bool wants_colour(int fd, const Environment& environment) {
  if (environment.find("NO_COLOR") != nullptr) return false;
  const std::string* term = environment.find("TERM");
  return ::isatty(fd) == 1 && (term == nullptr || *term != "dumb");
}

}  // namespace adit::app
