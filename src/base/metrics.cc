#include "base/metrics.h"

namespace adit {

Counter& Metrics::counter(std::string_view name, std::string_view labels) {
  return counters_[Key(name, labels)];
}

Gauge& Metrics::gauge(std::string_view name, std::string_view labels) {
  return gauges_[Key(name, labels)];
}

std::vector<MetricSample> Metrics::sample() const {
  std::vector<MetricSample> out;
  for (const auto& [key, c] : counters_)
    out.push_back({key.first, key.second, static_cast<std::int64_t>(c.value()), true});
  for (const auto& [key, g] : gauges_) out.push_back({key.first, key.second, g.value(), false});
  return out;
}

std::string prometheus_text(const std::vector<MetricSample>& samples) {
  struct Sum {
    std::int64_t value = 0;
    bool is_counter = true;
  };
  std::map<std::pair<std::string, std::string>, Sum> sums;
  for (const MetricSample& s : samples) {
    Sum& sum = sums[{s.name, s.labels}];
    sum.value += s.value;
    sum.is_counter = s.is_counter;
  }
  std::string out, last;
  for (const auto& [key, sum] : sums) {
    const auto& [name, labels] = key;
    if (name != last) out += "# TYPE " + name + (sum.is_counter ? " counter\n" : " gauge\n");
    last = name;
    out +=
        name + (labels.empty() ? "" : "{" + labels + "}") + " " + std::to_string(sum.value) + "\n";
  }
  return out;
}

}  // namespace adit
