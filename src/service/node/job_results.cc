// What each op is told.
#include <algorithm>

#include "service/node/job_entry.h"
#include "service/node/node.h"

namespace adit::service {

using node::OpResult;
using Arrival = node::PollOrder::Arrival;

// Every op has a result, also where the reply is full: what is not in it stays with the session.
void Job::finish() {
  phase_ = Phase::Done;
  timer_.stop();
  fetch_streams();
  std::vector<OpResult> results;
  results.reserve(entries_.size());
  for (const auto& entry : entries_) {
    if (entry->state != Entry::State::Told) fetch_udp(*entry);
    CHECK(entry->state == Entry::State::Told);
    results.push_back(std::move(entry->result));
  }
  const Done done = done_;
  const std::unique_ptr<Job> self = node_.jobs_.take(*this);
  done(std::move(results));
}

std::size_t Job::allowance(std::size_t most) const {
  return std::min(most, key_.bytes.available(loop_.now()));
}

void Job::spend(std::size_t n) {
  left_bytes_ -= std::min(left_bytes_, n);
  key_.bytes.take(n);
  node_.context().metrics.counter("adit_node_bytes_total", "direction=\"down\"").add(n);
}

// Polls of one session may stand here in any order; each pass answers those whose turn it is.
void Job::fetch_streams() {
  const auto open = [](const auto& e) {
    return e->state == Entry::State::Fetching && e->stream() != nullptr;
  };
  bool progress = true;
  while (progress) {
    progress = false;
    for (const auto& entry : entries_)
      if (open(entry)) progress = fetch_stream(*entry) || progress;
  }
  for (const auto& entry : entries_) {
    if (!open(entry)) continue;
    answer_poll(*entry, entry->stream()->fetched_to(), false);
    entry->tell(entry->empty_result(false));
  }
}

// False: it is not its turn.
bool Job::fetch_stream(Entry& entry) {
  StreamSession& stream = *entry.stream();
  if (stream.opening() == ClientSession::Opening::Failed) return settle_failed(entry), true;
  if (entry.is_poll() && entry.arrival != Arrival::Fresh) {
    OpResult result = entry.empty_result(false);
    if (const auto* before = stream.order().find(*entry.op.seq)) {
      result.d = stream.again(before->begin, before->end);
      result.eof = before->eof;
      node_.context().metrics.counter("adit_node_replays_total").add();
    } else if (entry.arrival == Arrival::Twin) {
      result = OpResult::error("replay owner cancelled");
    }
    entry.tell(std::move(result));
    return true;
  }
  if (entry.is_poll() && !stream.order().may_take(*entry.op.seq, loop_.now())) return false;
  const std::uint64_t begin = stream.fetched_to();
  OpResult result = entry.empty_result(false);
  result.d = stream.fetch(allowance(std::min(limits::kNodeDownloadBytesMax, left_bytes_)));
  spend(result.d.size());
  const bool eof = stream.at_end();
  result.eof = eof;
  if (entry.is_poll()) answer_poll(entry, begin, eof);
  entry.tell(std::move(result));
  if (!eof) return true;
  // Its last bytes may be asked for once more.
  if (stream.ordered() && stream.order().kept_bytes() > 0) {
    stream.set_told_end();
  } else {
    node_.remove(stream);
  }
  return true;
}

void Job::answer_poll(Entry& entry, std::uint64_t begin, bool eof) {
  StreamSession& stream = *entry.stream();
  stream.order().answer({*entry.op.seq, begin, stream.fetched_to(), eof, loop_.now()});
  stream.forget_answers(Instant{}, limits::kNodeReplayBytesMax);
  node_.keeps_bytes(stream);
  stream.poke();
}

void Job::fetch_udp(Entry& entry) {
  UdpSession& udp = *entry.udp();
  if (udp.opening() == ClientSession::Opening::Failed) return settle_failed(entry);
  OpResult result = entry.empty_result(false);
  if (const std::size_t most = allowance(left_bytes_); most > 0) result.pkts = udp.fetch(most);
  spend(result.payload_bytes());
  result.eof = udp.ended() && !udp.waiting();
  const bool over = *result.eof;
  entry.tell(std::move(result));
  if (over) node_.remove(udp);
}

// The session never came to be; whoever was told otherwise hears it now.
void Job::settle_failed(Entry& entry) {
  OpResult result = OpResult::error(entry.session->failure());
  if (StreamSession* stream = entry.stream(); stream != nullptr && entry.is_poll() &&
                                              entry.arrival == Arrival::Fresh && stream->ordered())
    stream->order().withdraw(*entry.op.seq);
  node_.remove(*entry.session);
  entry.release();
  entry.tell(std::move(result));
}

}  // namespace adit::service
