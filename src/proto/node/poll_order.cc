#include "proto/node/poll_order.h"

#include <algorithm>

namespace adit::node {

PollOrder::Arrival PollOrder::arrive(std::uint64_t seq) {
  // A client counts from 0, and is not far ahead of itself; another may count from anywhere.
  if (!std::exchange(any_, true) && seq > limits::kNodeChunksAheadMax) next_ = seq;
  if (waiting_.contains(seq)) return Arrival::Twin;
  if (find(seq) != nullptr) return Arrival::Again;
  if (seq < next_ || ahead_.contains(seq)) return Arrival::Past;
  if (waiting_.size() + ahead_.size() >= limits::kNodeAnswersMax) return Arrival::TooMany;
  waiting_.insert(seq);
  return Arrival::Fresh;
}

bool PollOrder::may_take(std::uint64_t seq, Instant now) {
  if (seq == next_) return true;
  if (seq < next_) return false;
  if (waiting_.contains(next_)) return false;
  if (missing_since_ == Instant{}) missing_since_ = now;
  if (now - missing_since_ < limits::kNodeMissingPoll || *waiting_.begin() != seq) return false;
  next_ = seq;
  missing_since_ = {};
  ahead_.erase(ahead_.begin(), ahead_.lower_bound(seq));
  return true;
}

void PollOrder::answer(const Answer& answer) {
  waiting_.erase(answer.seq);
  if (answer.seq >= next_) ahead_.insert(answer.seq);
  advance();
  if (answers_.size() == limits::kNodeAnswersMax) drop_oldest();
  answers_.push_back(answer);
  kept_bytes_ += answer.end - answer.begin;
}

void PollOrder::withdraw(std::uint64_t seq) { waiting_.erase(seq); }

void PollOrder::advance() {
  while (!ahead_.empty() && *ahead_.begin() == next_) {
    ahead_.erase(ahead_.begin());
    ++next_;
    missing_since_ = {};
  }
}

const PollOrder::Answer* PollOrder::find(std::uint64_t seq) const {
  const auto at = std::ranges::find(answers_, seq, &Answer::seq);
  return at == answers_.end() ? nullptr : &*at;
}

void PollOrder::drop_oldest() {
  kept_bytes_ -= answers_.front().end - answers_.front().begin;
  answers_.pop_front();
}

void PollOrder::forget(Instant then, std::size_t bytes) {
  while (!answers_.empty() && (answers_.front().at < then || kept_bytes_ > bytes)) drop_oldest();
}

std::uint64_t PollOrder::kept_from(std::uint64_t otherwise) const {
  // Bytes are given out in ascending order, so the oldest answer that has any has the first.
  for (const Answer& a : answers_)
    if (a.begin != a.end) return a.begin;
  return otherwise;
}

}  // namespace adit::node
