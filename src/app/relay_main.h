// `adit relay`: threads, signals, reload and drain around service::RelayThread.
#pragma once

#include "app/command_line.h"
#include "io/loop.h"

namespace adit::app {

// Runs until SIGTERM or SIGINT and a drain; returns the exit code.
int run_relay(const RelayCommand& command, const Environment& environment);

// CLOCK_REALTIME, for log lines before and beside a loop.
WallTime wall_clock();

// io_uring or epoll as configured.
Result<io::LoopChoice> choose_loop(IoBackend backend);

}  // namespace adit::app
