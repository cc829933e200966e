// adit node: the HTTP tunnel node alone, on one loop.
#pragma once

#include "app/command_line.h"
#include "app/config.h"

namespace adit::app {

// Serves until SIGTERM or SIGINT; returns the exit code.
int run_node(const NodeCommand& command, const Environment& environment);

}  // namespace adit::app
