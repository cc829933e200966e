#include "app/log_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

namespace adit::app {
namespace {

constexpr WallTime kNow{1'767'323'045'678'000'000};  // 2026-01-02T03:04:05.678Z

class Pipe {
 public:
  Pipe() { EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  ~Pipe() {
    close_writer();
    ::close(ends_[0]);
  }
  int writer() const { return ends_[1]; }
  void close_writer() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  // All that was written, after the writer has closed.
  std::string text() {
    close_writer();
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = ::read(ends_[0], buffer, sizeof buffer)) > 0;)
      out.append(buffer, static_cast<std::size_t>(n));
    return out;
  }

 private:
  int ends_[2] = {-1, -1};
};

WallTime now() { return kNow; }

TEST(LogSink, WritesTextAndJsonAboveTheLevel) {
  Pipe text, json;
  {
    LogSink sink(text.writer(), {LogFormat::Text, LogLevel::Warn}, false, now);
    sink.info("a.hidden");
    sink.warn("a.seen", {{"key", "a b"}, {"n", 1}});
    sink.set_level(LogLevel::Debug);
    sink.debug("a.detail");
    LogSink other(json.writer(), {LogFormat::Json, LogLevel::Info}, true, now);
    other.error("b.failed", {{"why", "x\ny"}});
  }
  EXPECT_EQ(text.text(),
            "2026-01-02T03:04:05.678Z warn  a.seen key=\"a b\" n=1\n"
            "2026-01-02T03:04:05.678Z debug a.detail\n");
  EXPECT_EQ(json.text(),
            "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"error\",\"event\":\"b.failed\","
            "\"why\":\"x\\u000ay\"}\n");
}

TEST(LogSink, ColoursTextBySeverity) {
  Pipe pipe;
  LogSink sink(pipe.writer(), {}, true, now);
  sink.info("a.b");
  sink.error("a.b");
  EXPECT_EQ(pipe.text(),
            "2026-01-02T03:04:05.678Z info  a.b\n"
            "\x1b[31m2026-01-02T03:04:05.678Z error a.b\x1b[0m\n");
  EXPECT_FALSE(wants_colour(pipe.writer(), {}));
}

TEST(LogSink, CutsWhatIsTooLong) {
  const std::string huge(100'000, 'x');
  Pipe text, json;
  LogSink sink(text.writer(), {LogFormat::Text, LogLevel::Info}, true, now);
  sink.warn("a.b", {{"v", huge}});
  LogSink other(json.writer(), {LogFormat::Json, LogLevel::Info}, false, now);
  other.warn("a.b", {{"v", huge}});
  const std::string line = text.text();
  EXPECT_LE(line.size(), LogSink::kLineBytesMax);
  EXPECT_TRUE(line.ends_with("xxx...\x1b[0m\n"));
  EXPECT_EQ(json.text(),
            "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\",\"event\":\"a.b\","
            "\"cut_bytes\":100071}\n");
}

TEST(LogSink, LinesOfSeveralThreadsStayWhole) {
  constexpr int kThreads = 4, kLines = 100;
  Pipe pipe;
  // Room for all lines: nobody reads until the end.
  ASSERT_GE(::fcntl(pipe.writer(), F_SETPIPE_SZ, 128 * 1024), 64 * 1024);
  LogSink sink(pipe.writer(), {}, false, now);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&sink, t] {
      for (int i = 0; i < kLines; ++i) sink.info("a.b", {{"thread", t}, {"line", i}});
    });
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> expected, seen;
  for (int t = 0; t < kThreads; ++t)
    for (int i = 0; i < kLines; ++i)
      expected.insert("2026-01-02T03:04:05.678Z info  a.b thread=" + std::to_string(t) +
                      " line=" + std::to_string(i));
  const std::string text = pipe.text();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    ASSERT_NE(end, text.npos);
    seen.insert(text.substr(at, end - at));
    at = end + 1;
  }
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(sink.lost(), 0u);
}

TEST(LogSink, CountsWhatNobodyTakes) {
  LogSink sink(-1, {}, false, now);
  sink.info("a.b");
  EXPECT_EQ(sink.lost(), 1u);
}

}  // namespace
}  // namespace adit::app
