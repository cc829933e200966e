// What a reload would do: the keys whose values differ, those of them that only a restart takes,
// and the agents that come, go or change.
#pragma once

#include <string>
#include <vector>

#include "app/config.h"
#include "route/access.h"

namespace adit::app {

struct ConfigDifference {
  struct Line {
    std::string what;      // "limits.drain_ms: 30000 -> 5000", "+ agent ID names=a"
    bool restart = false;  // the running relay goes on without it
    bool operator==(const Line&) const = default;
  };
  std::vector<Line> lines;

  bool needs_restart() const;
  std::string text() const;  // a line each; says so where there is nothing
};

// What runs after a reload: `after`, but for the keys that only a restart takes.
RelayConfig keep_what_runs(const RelayConfig& before, RelayConfig after);
ConfigDifference difference(const RelayConfig& before, const RelayConfig& after);
// In the order of `after`, then those that are gone.
void add_difference(ConfigDifference& out, const std::vector<route::AgentGrant>& before,
                    const std::vector<route::AgentGrant>& after);

}  // namespace adit::app
