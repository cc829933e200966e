// Seeded tests. ADIT_SIM_SEEDS=N runs N seeds in place of a test's default; ADIT_SIM_SEED=S exactly
// one, which is how a failure is repeated.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/log.h"
#include "sim/sim_host.h"
#include "sim/sim_world.h"

namespace adit::sim {

using Scenario = std::function<void(World&)>;

// Runs `scenario` in a new world for each seed. Stops at the first seed that fails (or aborts), and
// says how to repeat it.
void for_each_seed(std::uint64_t default_count, const Scenario& scenario);
// The same, each seed twice: the runs must leave the same trace.
void for_each_seed_twice(std::uint64_t default_count, const Scenario& scenario);

// Remembers how often each event was logged by one host; ADIT_SIM_LOG=1 prints the lines with the
// virtual time, ADIT_SIM_LOG=debug also the lowest level.
class SimLog final : public Log {
 public:
  explicit SimLog(Host& host);
  void write(LogLevel level, std::string_view event, LogFields fields) override;
  std::uint64_t count(std::string_view event) const;

 private:
  Host& host_;
  LogLevel shown_;
  bool print_;
  std::map<std::string, std::uint64_t, std::less<>> counts_;
};

}  // namespace adit::sim
