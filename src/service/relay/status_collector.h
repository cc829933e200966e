// Asks every thread of a relay what it has, and waits for all of them, but not for ever. Lives on
// thread 0.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/delegate.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "service/relay/relay_thread.h"

namespace adit::service {

// What the threads said, in the order of their index.
struct RelayReport {
  std::vector<ThreadStatus> threads;   // without their samples
  std::vector<std::uint32_t> missing;  // did not answer in time
  // Of all threads. Of a missing one those it gave last: a sum that shrank would read as a restart.
  std::vector<MetricSample> samples;
};

class StatusCollector {
 public:
  using Done = Delegate<void(const RelayReport&)>;

  // `loop`: that of thread 0. Threads send their answers here by message, so this object lives
  // until the loop has run for the last time.
  StatusCollector(io::Loop& loop, const RelayThreads& threads,
                  Duration deadline = limits::kStatusDeadline);

  bool busy() const { return static_cast<bool>(done_); }
  // Calls `done` once, later. One collection at a time: not while busy().
  void collect(Done done, ThreadQuery query = {});

 private:
  struct Row {
    // Since when a question is on its way to the thread, or its answer back. Not asked again
    // meanwhile, or a thread that hangs would get a heap of them; the late answer counts for
    // whoever waits then.
    std::optional<Instant> asked;
    std::optional<ThreadStatus> answer;      // to this collection
    std::vector<MetricSample> last_samples;  // of the last answer to any
  };

  void ask(std::uint32_t thread);
  void on_answer(ThreadStatus status);
  void finish();

  io::Loop& loop_;
  const RelayThreads& threads_;
  const Duration deadline_after_;
  std::vector<Row> rows_;
  ThreadQuery query_;
  std::size_t waiting_for_ = 0;
  Done done_;
  io::Timer deadline_;
};

}  // namespace adit::service
