// `adit status`, `reload`, `agents` and `explain`: one question to the admin socket of a running
// relay.
#pragma once

#include "app/command_line.h"

namespace adit::app {

Answer run(const StatusCommand& command);
Answer run(const ReloadCommand& command);
Answer run(const AgentsCommand& command);
Answer run(const ExplainCommand& command);

}  // namespace adit::app
