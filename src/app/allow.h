// Edits `authorized_agents` for `adit allow` and `adit deny`: comments and other lines stay as
// they are, and a reader sees the old file or the new one, never a part.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "route/access.h"

namespace adit::app {

enum class Edit : std::uint8_t { Changed, Unchanged };

// The text with the grant in it. An agent that is there keeps what it has and gets names and ports
// on top; rate and streams are replaced when given. Errors: the text has faults, which are for its
// owner to mend.
Result<std::string> with_agent(std::string_view text, const route::AgentGrant& grant);
// The text without the agent's line.
Result<std::string> without_agent(std::string_view text, std::string_view id);

// The same on the file, which allow_agent makes when there is none. Two edits at a time: one of
// them is refused.
Result<Edit> allow_agent(const std::string& file, const route::AgentGrant& grant);
Result<Edit> deny_agent(const std::string& file, std::string_view id);

}  // namespace adit::app
