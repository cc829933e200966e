// `adit status` and `adit reload`: one question to the admin socket of a running relay.
#pragma once

#include "app/command_line.h"

namespace adit::app {

Answer run(const StatusCommand& command);
Answer run(const ReloadCommand& command);

}  // namespace adit::app
