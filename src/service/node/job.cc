#include "service/node/job.h"

#include <algorithm>

#include "service/node/job_entry.h"
#include "service/node/node.h"

namespace adit::service {

using Arrival = node::PollOrder::Arrival;
using Opening = ClientSession::Opening;

Job::Job(Node& node, NodeKey& key, std::vector<node::Op> ops, Mode mode, Done done)
    : node_(node),
      loop_(node.context().loop),
      key_(key),
      mode_(mode),
      done_(done),
      left_bytes_(limits::kNodeReplyBytesMax),
      started_(loop_.now()),
      task_(Delegate<void()>::to<&Job::run>(this)),
      timer_(loop_, Delegate<void()>::to<&Job::on_timer>(this)) {
  entries_.reserve(ops.size());
  for (node::Op& op : ops) entries_.push_back(std::make_unique<Entry>(*this, std::move(op)));
}

Job::~Job() = default;

void Job::start() { loop_.run_later(task_); }

void Job::hurry() {
  hurried_ = true;
  loop_.run_later(task_);
}

void Job::abandon() {
  for (const auto& entry : entries_) {
    if (entry->session == nullptr) continue;
    if (entry->opened_here) node_.remove(*entry->session);
    StreamSession* stream = entry->stream();
    if (stream == nullptr || !entry->is_poll() || entry->state == Entry::State::Told ||
        entry->arrival != Arrival::Fresh)
      continue;
    stream->order().withdraw(*entry->op.seq);
    stream->poke();
  }
}

// Whoever asked first may have gone; who asked the same again takes his place then.
void Job::inherit() {
  for (const auto& entry : entries_)
    if (entry->state == Entry::State::Fetching && entry->arrival == Arrival::Twin)
      entry->arrival = entry->stream()->order().arrive(*entry->op.seq);
}

void Job::run() {
  if (phase_ >= Phase::Waiting) inherit();
  switch (phase_) {
    case Phase::Starting: return begin_some();
    case Phase::Connecting: return connect_some();
    case Phase::Waiting: return wait_some();
    case Phase::Settling: return settle_some();
    case Phase::Holding: return hold_some();
    case Phase::Done: return;
  }
}

// A large upload takes several turns, and others run between them.
void Job::begin_some() {
  turn_bytes_ = 0;
  while (begun_ < entries_.size()) {
    if (turn_bytes_ >= limits::kNodeTurnBytesMax) return timer_.set(loop_.now());
    begin(*entries_[begun_++]);
  }
  phase_ = Phase::Connecting;
  // With nobody else in the request there is nobody to be delayed.
  const bool alone = entries_.size() == 1;
  deadline_ = started_ + (alone ? 2 * limits::kNodeConnectDeadline : limits::kNodeConnectGrace);
  connect_some();
}

bool Job::any_pending() const {
  return std::ranges::any_of(entries_, [](const auto& e) {
    return e->state == Entry::State::Opening && e->session->opening() == Opening::Pending;
  });
}

void Job::connect_some() {
  for (const auto& entry : entries_) {
    if (entry->state != Entry::State::Opening) continue;
    if (entry->session->opening() == Opening::Open) take_opened(*entry);
    if (entry->session != nullptr && entry->session->opening() == Opening::Failed)
      settle_failed(*entry);
  }
  if (any_pending()) {
    if (loop_.now() < deadline_ && !hurried_) return timer_.set(deadline_);
    // They are told as if they were open; what becomes of them is told to the next op.
    for (const auto& entry : entries_)
      if (entry->state == Entry::State::Opening) take_opened(*entry);
  }
  enter_waiting();
}

void Job::take_opened(Entry& entry) {
  entry.state = Entry::State::Fetching;
  if (entry.op.kind == node::OpKind::Connect) entry.tell(entry.empty_result(false));
}

void Job::enter_waiting() {
  timer_.stop();
  const bool any = std::ranges::any_of(
      entries_, [](const auto& e) { return e->state == Entry::State::Fetching; });
  if (!any) return finish();
  const Duration wait = mode_ == Mode::Single ? limits::kNodeSingleWait
                        : active_             ? limits::kNodeActiveWait
                                              : node_.settings().long_poll;
  deadline_ = loop_.now() + wait;
  grown_ = loop_.now();
  phase_ = Phase::Waiting;
  wait_some();
}

bool Job::ready(const Entry& entry) const {
  if (entry.state != Entry::State::Fetching) return false;
  if (const UdpSession* udp = entry.udp()) return udp->waiting() || udp->ended();
  StreamSession& stream = *entry.stream();
  if (stream.opening() == Opening::Failed) return true;
  if (entry.is_poll()) {
    if (entry.arrival == Arrival::Past) return false;
    if (entry.arrival != Arrival::Fresh) return stream.order().find(*entry.op.seq) != nullptr;
    if (!stream.order().may_take(*entry.op.seq, loop_.now())) return false;
  }
  return stream.at_end() || (stream.unfetched() > 0 && allowance(1) > 0);
}

// The one op has what it waits for when nothing more came for a moment.
bool Job::single_ready() {
  const Entry& entry = *entries_.front();
  StreamSession& stream = *entry.stream();
  if (stream.ended() || entry.arrival == Arrival::Again) return true;
  if (stream.unfetched() > seen_) {
    seen_ = stream.unfetched();
    grown_ = loop_.now();
  }
  if (seen_ == 0) return false;
  const Instant quiet = grown_ + limits::kNodeSingleQuiet;
  if (loop_.now() >= quiet) return true;
  timer_.set(std::min(quiet, deadline_));
  return false;
}

void Job::wait_some() {
  const bool over = hurried_ || loop_.now() >= deadline_;
  if (!over) timer_.set(deadline_);
  if (mode_ == Mode::Single) {
    if (!single_ready() && !over) return;
  } else if (!over && !std::ranges::any_of(entries_, [&](const auto& e) { return ready(*e); })) {
    if (key_.bytes.limits() && allowance(1) == 0)
      timer_.set(std::min(deadline_, key_.bytes.ready_at(limits::kNodeDownloadBytesMin)));
    return;
  }
  if (mode_ == Mode::Single || !active_) {
    phase_ = Phase::Holding;
    return hold_some();
  }
  phase_ = Phase::Settling;
  seen_ = arrived();
  settle_end_ = loop_.now() + limits::kNodeSettleMax;
  deadline_ = loop_.now() + limits::kNodeSettleStep;
  settle_some();
}

std::size_t Job::arrived() const {
  std::size_t n = 0;
  for (const auto& entry : entries_) {
    if (entry->state != Entry::State::Fetching) continue;
    if (const StreamSession* stream = entry->stream()) n += stream->unfetched();
    if (const UdpSession* udp = entry->udp()) n += udp->waiting_datagrams();
  }
  return n;
}

void Job::settle_some() {
  if (!hurried_) {
    if (loop_.now() < deadline_) return timer_.set(deadline_);
    const std::size_t n = arrived();
    if (n != std::exchange(seen_, n) && loop_.now() < settle_end_) {
      deadline_ = loop_.now() + limits::kNodeSettleStep;
      return timer_.set(deadline_);
    }
  }
  phase_ = Phase::Holding;
  hold_some();
}

bool Job::twins_open() const {
  return std::ranges::any_of(entries_, [](const auto& e) {
    return e->state == Entry::State::Fetching && e->arrival == Arrival::Twin &&
           e->stream()->order().find(*e->op.seq) == nullptr;
  });
}

// Back-pressure: who sends more than an upstream takes waits for his answers.
Duration Job::upload_hold() const {
  Duration out{};
  for (const auto& entry : entries_) {
    if (!entry->carries || entry->stream() == nullptr) continue;
    const std::size_t waiting = entry->stream()->upload_waiting();
    if (waiting <= limits::kNodeUploadBytesSoft) continue;
    constexpr auto kRange = limits::kNodeUploadBytesMax - limits::kNodeUploadBytesSoft;
    const double full = static_cast<double>(waiting - limits::kNodeUploadBytesSoft) / kRange;
    const auto most = static_cast<double>(node_.settings().long_poll.count());
    out = std::max(out, Duration(static_cast<std::int64_t>(full * most)));
  }
  return out;
}

void Job::hold_some() {
  const Instant until = twins_open() ? started_ + limits::kNodeDuplicateWait
                                     : started_ + upload_hold();
  if (hurried_ || loop_.now() >= until) return finish();
  timer_.set(until);
}

}  // namespace adit::service
