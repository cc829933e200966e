#include "service/relay/status_collector.h"

namespace adit::service {

namespace {
// An answer is lost where thread 0's mailbox is full.
constexpr Duration kAskAgain = 1min;
}  // namespace

StatusCollector::StatusCollector(io::Loop& loop, const RelayThreads& threads, Duration deadline)
    : loop_(loop),
      threads_(threads),
      deadline_after_(deadline),
      deadline_(loop, Delegate<void()>::to<&StatusCollector::finish>(this)) {}

void StatusCollector::collect(Done done, ThreadQuery query) {
  CHECK(!busy());
  done_ = done;
  query_ = std::move(query);
  rows_.resize(threads_.entries.size());
  waiting_for_ = rows_.size();
  for (std::uint32_t i = 0; i < rows_.size(); ++i) ask(i);
  deadline_.set(loop_.now() + deadline_after_);
}

void StatusCollector::ask(std::uint32_t thread) {
  Row& row = rows_[thread];
  row.answer.reset();
  if (row.asked && loop_.now() < *row.asked + kAskAgain) return;
  const bool posted = RelayThread::post(threads_, thread, [this, q = query_](RelayThread& there) {
    // On that thread, where `this` only travels on.
    RelayThread::post(threads_, 0, [this, status = there.answer(q)](RelayThread&) mutable {
      on_answer(std::move(status));
    });
  });
  // Not where its mailbox is full: it is missing this time, and the deadline says so.
  if (posted) row.asked = loop_.now();
}

void StatusCollector::on_answer(ThreadStatus status) {
  CHECK(status.thread < rows_.size());
  Row& row = rows_[status.thread];
  row.asked.reset();
  row.last_samples = std::exchange(status.metrics, {});
  // Late: the answer to an earlier question is none to this one.
  if (!busy() || status.query != query_) return;
  const bool is_first = !row.answer;
  row.answer = std::move(status);
  if (is_first && --waiting_for_ == 0) finish();
}

void StatusCollector::finish() {
  deadline_.stop();
  RelayReport report;
  for (std::uint32_t i = 0; i < rows_.size(); ++i) {
    Row& row = rows_[i];
    report.samples.insert(report.samples.end(), row.last_samples.begin(), row.last_samples.end());
    if (row.answer) {
      report.threads.push_back(*std::exchange(row.answer, std::nullopt));
    } else {
      report.missing.push_back(i);
    }
  }
  // `done` may start the next collection.
  std::exchange(done_, {})(report);
}

}  // namespace adit::service
