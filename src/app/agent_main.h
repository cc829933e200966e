// `adit agent` and `adit expose`: the private side as a process.
#pragma once

#include "app/command_line.h"

namespace adit::app {

int run_agent(const AgentCommand& command, const Environment& environment);
int run_expose(const ExposeCommand& command, const Environment& environment);
// `adit keys`: the agent's id; makes the key when there is none.
Answer run(const KeysCommand& command);

}  // namespace adit::app
