// Counters and gauges of one thread. Each thread owns its registry; a reader gets copies by
// message, so counting costs an addition. Written as Prometheus text by service/admin.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace adit {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_ += n; }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0;
};

class Gauge {
 public:
  void add(std::int64_t n) { value_ += n; }
  void set(std::int64_t n) { value_ = n; }
  std::int64_t value() const { return value_; }

 private:
  std::int64_t value_ = 0;
};

// One sample, ready to be sent to another thread and added up there.
struct MetricSample {
  std::string name;    // "adit_visitors_total"
  std::string labels;  // `reason="unknown_sni"` or empty
  std::int64_t value = 0;
  bool is_counter = true;
};

// References returned stay valid as long as the registry. Asking for the same name and labels again
// gives the same object. `labels` is Prometheus text without braces; its values must come from a
// bounded set.
class Metrics {
 public:
  Counter& counter(std::string_view name, std::string_view labels = {});
  Gauge& gauge(std::string_view name, std::string_view labels = {});
  std::vector<MetricSample> sample() const;

 private:
  using Key = std::pair<std::string, std::string>;
  std::map<Key, Counter> counters_;
  std::map<Key, Gauge> gauges_;
};

// Adds up the samples of all threads and writes the Prometheus text exposition format 0.0.4.
std::string prometheus_text(const std::vector<MetricSample>& samples);

}  // namespace adit
