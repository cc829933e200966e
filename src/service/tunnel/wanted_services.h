// What an agent's HELLO asks for, held against what its key is granted: the names and ports to
// claim. All or nothing, so that an agent never serves half of what its owner wrote down.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proto/link/messages.h"
#include "route/access.h"
#include "route/router.h"
#include "service/tunnel/relay_session.h"

namespace adit::service {

struct WantedRefusal {
  std::string code;        // of REFUSED
  std::string text;        // for the agent's people
  std::string subject;     // the name or port; empty: not about one
  std::string admit_with;  // the command that would grant it; empty: there is none
};

struct WantedServices {
  std::optional<WantedRefusal> refusal;  // unset: the rest is to be claimed
  std::vector<GrantedName> names;        // patterns, and of each port its entry
  std::vector<PublicPorts> ports;
};

WantedServices check_wanted(const route::AgentAccess& access, const std::string& key_id,
                            const std::vector<link::ServiceWanted>& services);

}  // namespace adit::service
