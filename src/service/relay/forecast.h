// What would become of a visitor of a name now, and why; as one thread sees it.
#pragma once

#include <string>
#include <vector>

namespace adit::service {

struct Forecast {
  std::string rule;                // route::describe: what the router says
  bool served = false;             // it would get to a service, for all that this thread knows
  bool decisive = false;           // this thread has the agent's session
  std::vector<std::string> facts;  // the agent, the link, upstreams, limits: a line each
};

}  // namespace adit::service
