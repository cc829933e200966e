// What parses prints, and parses back to the same; nothing else may happen.

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/check.h"
#include "route/access.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  const auto parsed = route::parse_authorized_agents(as_text({data, size}));
  CHECK(parsed.errors.size() <= route::kErrorsMax);
  for (const route::AgentGrant& grant : parsed.agents) {
    const auto again = route::parse_authorized_agents(route::format(grant));
    CHECK(again.errors.empty());
    CHECK(again.agents.size() == 1 && again.agents.front() == grant);
  }
  const route::AgentAccess access({"t.example.com"}, false, parsed.agents);
  for (const route::AgentGrant& grant : parsed.agents)
    for (const std::string& name : grant.names)
      CHECK(name == "t.example.com" || !access.resolve(grant.id, name).refusal);
  return 0;
}
