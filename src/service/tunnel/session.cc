#include "service/tunnel/session.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "service/tunnel/flow_channel.h"

namespace adit::service {

namespace {

// Less than this is not worth a turn of its own where a rate holds a stream back.
constexpr std::size_t kRateQuantum = 4096;

// What the lists of a resumption can hold (link::kOffsetsMax).
SessionLimits limits_of(Role role, SessionLimits limits) {
  limits.streams_max = std::min(limits.streams_max, limits::kStreamsPerSessionMax);
  if (role == Role::Agent) limits.streams_max *= 2;
  return limits;
}

}  // namespace

Session::Session(io::Loop& loop, Role role, const SessionLimits& limits, StreamAcceptor* acceptor)
    : loop_(loop),
      role_(role),
      limits_(limits_of(role, limits)),
      acceptor_(acceptor),
      share_(limits_.retain_session_bytes / 2 / std::max<std::size_t>(limits_.streams_max, 1)),
      common_max_(limits_.retain_session_bytes / 2),
      rate_timer_(loop, Delegate<void()>::to<&Session::released>(this)),
      ack_timer_(loop, Delegate<void()>::to<&Session::send_acks>(this)),
      open_timer_(loop, Delegate<void()>::to<&Session::open_waiting>(this)),
      task_(Delegate<void()>::to<&Session::run_task>(this)) {
  CHECK((role == Role::Agent) == (acceptor != nullptr));
  set_rate(limits.rate);
}

void Session::set_rate(std::uint64_t bytes_a_second) {
  if (bytes_a_second == rate_out_.rate()) return;
  // A twentieth of a second at once: few enough wake-ups, and a pause that nobody sees.
  const std::uint64_t burst = std::max<std::uint64_t>(bytes_a_second / 20, kRateQuantum);
  rate_in_ = rate_out_ = TokenBucket(bytes_a_second, burst, loop_.now());
  released();
}

std::size_t Session::allowed(TokenBucket& bucket) {
  const std::size_t n = bucket.available(loop_.now());
  return n < kRateQuantum ? 0 : n;
}

void Session::wait_for(const TokenBucket& bucket, SessionStream& stream) {
  wait(stream);
  const Instant at = bucket.ready_at(kRateQuantum);
  if (!rate_timer_.armed() || at < rate_timer_.at()) rate_timer_.set(at);
}

Session::~Session() {
  detach();
  for (auto& [number, stream] : streams_) part(*stream);
}

std::unique_ptr<flow::Duplex> Session::open_stream(link::Preamble preamble) {
  CHECK(role_ == Role::Relay);
  if (ended_ || streams_.size() >= limits_.streams_max) return nullptr;
  preamble.stream = StreamNumber{next_stream_++};
  auto owned = std::make_unique<SessionStream>(*this, preamble);
  SessionStream& stream = *owned;
  streams_.emplace(preamble.stream, std::move(owned));
  if (carrier_ != nullptr && !opening_) open_on_carrier(stream);  // behind those that wait
  return std::make_unique<StreamEnd>(loop_, stream);
}

// --- from the carrier ----------------------------------------------------------------------------

SessionStream* Session::find(StreamNumber number) {
  const auto found = streams_.find(number);
  return found == streams_.end() ? nullptr : found->second.get();
}

SessionStream* Session::by_carrier(flow::CarrierStream id) {
  const auto found = carried_.find(id);
  return found == carried_.end() ? nullptr : found->second;
}

void Session::on_datagram(Bytes datagram) {
  if (flows_ != nullptr) flows_->on_datagram(datagram);
}

void Session::on_stream_readable(flow::CarrierStream id) {
  if (flows_ != nullptr && flows_->has(id)) return flows_->on_readable();
  if (unnamed_.contains(id)) return read_preamble(id);
  SessionStream* stream = by_carrier(id);
  if (stream == nullptr) return;
  note_end(*stream);
  if (stream->end_ == nullptr) return discard(*stream);
  if (stream->end_->listener_ != nullptr) stream->end_->listener_->on_readable();
}

// The end is gone after it said all it had to say: what the peer still sends is dropped until it
// ends as well, since a reset would take back what is under way to it. How long that may last is
// the relay's to bound.
void Session::discard(SessionStream& stream) {
  if (!stream.carried_by_) return;
  const flow::CarrierStream id = *stream.carried_by_;
  for (Bytes rest = carrier_->readable(id); !rest.empty(); rest = carrier_->readable(id)) {
    carrier_->consume(id, rest.size());
    stream.receive_.handed(rest.size());
  }
  ack_due(stream, false);
  note_end(stream);
}

// The carrier's reset repeats what a RESET frame says; whichever comes first counts.
void Session::on_stream_reset(flow::CarrierStream id, std::uint64_t code) {
  if (flows_ != nullptr && flows_->has(id)) return flows_->on_closed(true);
  if (unnamed_.contains(id)) return refuse(id, link::ResetCode::Cancelled);
  if (SessionStream* stream = by_carrier(id)) fail(*stream, static_cast<link::ResetCode>(code));
}

void Session::on_stream_closed(flow::CarrierStream id) {
  if (flows_ != nullptr && flows_->has(id)) return flows_->on_closed(false);
  unnamed_.erase(id);
  if (SessionStream* stream = by_carrier(id)) {
    {
      const Recount recount(*stream);
      stream->send_.detach();
    }
    stream->carrier_closed_ = true;
    note_end(*stream);
    leave_carrier(*stream);
    released();
  }
  open_waiting();
}

Status Session::on_ack(Bytes body) {
  auto entries = link::parse_ack(body);
  if (!entries) return std::move(entries).error();
  released();
  for (const link::AckEntry& e : *entries) {
    SessionStream* stream = find(e.stream);
    if (stream == nullptr) continue;  // over here already
    const Recount recount(*stream);
    const std::uint64_t before = stream->send_.resume_offset();
    if (auto ok = stream->send_.peer_handed(e.handed); !ok) return std::move(ok).with("ACK");
    handed_there_ += stream->send_.resume_offset() - before;
    maybe_retire(*stream);
  }
  watch_strain();
  return {};
}

// Looked at when the far side confirms something: a carrier through which nothing comes at all is
// noticed by its silence.
void Session::watch_strain() {
  if (carrier_ == nullptr || !strain_.due(loop_.now())) return;
  const auto rate = strain_.sample(loop_.now(), carrier_->stats().held_up, handed_there_);
  if (!rate) return;
  if (role_ == Role::Agent) return acceptor_->on_strained(*rate);
  ByteVector frame;
  link::write_strained(frame, *rate);
  // Full: the link is stuck and ends, by the next ACK at the latest.
  static_cast<void>(carrier_->send_control(frame));
}

Status Session::on_reset(Bytes body) {
  auto entry = link::parse_reset(body);
  if (!entry) return std::move(entry).error();
  // It may overtake the stream, which is not to be served then.
  if (role_ == Role::Agent) seen_.add(entry->stream.value);
  if (SessionStream* stream = find(entry->stream)) fail(*stream, entry->code);
  return {};
}

void Session::end(link::ResetCode code) {
  ended_ = true;
  while (!streams_.empty()) fail(*streams_.begin()->second, code);
}

// --- from the streams ----------------------------------------------------------------------------

// The carrier knows of a stream's end only until it forgets the stream, which may be this very
// turn; so it is asked on every occasion. That the end is noted counts as handed on: it is kept
// over links from here.
void Session::note_end(SessionStream& stream) {
  if (stream.receive_.complete() || !stream.carried_by_) return;
  if (!carrier_->at_end(*stream.carried_by_)) return;
  stream.receive_.fin_handed();
  ack_due(stream, true);
  leave_carrier(stream);
}

void Session::ack_due(SessionStream& stream, bool at_once) {
  if (carrier_ == nullptr) return;
  if (!stream.ack_queued_) {
    stream.ack_queued_ = true;
    acks_.push_back(stream.number());
  }
  at_once = at_once || stream.receive_.ack() - stream.receive_.told() >= limits::kAckEveryBytes;
  if (at_once) {
    ack_timer_.set(loop_.now());  // fires in the next turn, which is at once
  } else if (!ack_timer_.armed()) {
    ack_timer_.set(loop_.now() + limits::kAckDelayMax);
  }
}

void Session::send_acks() {
  if (carrier_ == nullptr) return;
  std::vector<link::AckEntry> entries;
  for (StreamNumber number : std::exchange(acks_, {})) {
    SessionStream* stream = find(number);
    if (stream == nullptr) continue;
    stream->ack_queued_ = false;
    if (stream->receive_.ack() == stream->receive_.told()) continue;
    stream->receive_.set_told();
    entries.push_back({number, stream->receive_.ack()});
    maybe_retire(*stream);
  }
  if (entries.empty()) return;
  ByteVector frame;
  link::write_ack(frame, entries);
  if (!carrier_->send_control(frame))
    carrier_->close(static_cast<std::uint64_t>(link::CloseCode::Overloaded),
                    "control channel stuck");
}

void Session::account(std::size_t before, std::size_t after) {
  const auto above_share = [this](std::size_t n) { return n - std::min(n, share_); };
  retained_ += after - before;
  common_ += above_share(after) - above_share(before);
}

std::size_t Session::room(const SessionStream& stream) const {
  const std::size_t retained = stream.send_.retained();
  const std::size_t of_session = (share_ - std::min(retained, share_)) + (common_max_ - common_);
  return std::min(stream.send_.room(limits_.retain_stream_bytes), of_session);
}

void Session::released() { loop_.run_later(task_); }

void Session::reset_by_us(SessionStream& stream, link::ResetCode code) {
  if (carrier_ != nullptr) {
    ByteVector frame;
    link::write_reset(frame, {stream.number(), code});
    // Full: the link is stuck and ends, by the next ACK at the latest.
    static_cast<void>(carrier_->send_control(frame));
  }
  if (stream.carried_by_) carrier_->reset(*stream.carried_by_, static_cast<std::uint64_t>(code));
  erase(stream);
}

StreamEnd* Session::part(SessionStream& stream) {
  StreamEnd* end = std::exchange(stream.end_, nullptr);
  if (end == nullptr) return nullptr;
  end->leave(stream.receive_.complete());
  return end;
}

void Session::fail(SessionStream& stream, link::ResetCode code) {
  StreamEnd* end = part(stream);
  if (stream.carried_by_) carrier_->reset(*stream.carried_by_, static_cast<std::uint64_t>(code));
  erase(stream);
  if (end != nullptr) end->fail(Error{0, std::string(link::text(code))});
}

// Both directions are handed on at their far sides, the far side knows, and no carrier points at
// our bytes.
bool Session::is_over(const SessionStream& stream) const {
  return stream.end_ == nullptr && !stream.carried_by_ && stream.send_.complete() &&
         stream.receive_.complete() && stream.receive_.told() == stream.receive_.ack();
}

// Erased at the end of the turn: callers still use the stream.
void Session::maybe_retire(SessionStream& stream) {
  if (!is_over(stream)) return;
  retired_.push_back(stream.number());
  released();
}

// The carrier, if there is one, has been told to reset the stream: it touches no byte of it any
// more.
void Session::erase(SessionStream& stream) {
  CHECK(stream.end_ == nullptr);
  account(stream.send_.retained(), 0);
  if (stream.carried_by_) carried_.erase(*stream.carried_by_);
  streams_.erase(stream.number());
  released();
}

void Session::wait(SessionStream& stream) {
  if (stream.waiting_) return;
  stream.waiting_ = true;
  waiting_.push_back(stream.number());
}

// End of the turn: streams that are over go, ends that wait for room or have something to read are
// told.
void Session::run_task() {
  for (StreamNumber number : std::exchange(retired_, {})) {
    SessionStream* stream = find(number);
    if (stream != nullptr && is_over(*stream)) erase(*stream);
  }
  std::vector<StreamNumber> waiting = std::exchange(waiting_, {});
  // Where a rate holds them back the first takes all that may go: each is the first in its turn.
  if (rate_in_.limits() && waiting.size() > 1) {
    const std::size_t first = turns_++ % waiting.size();
    std::rotate(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(first),
                waiting.end());
  }
  for (StreamNumber number : waiting) {
    SessionStream* stream = find(number);
    if (stream == nullptr) continue;
    stream->waiting_ = false;
    tell(*stream);
  }
}

void Session::tell(SessionStream& stream) {
  if (stream.end_ == nullptr || stream.end_->listener_ == nullptr) return;
  if (std::exchange(stream.readable_, false)) {
    const StreamNumber number = stream.number();
    stream.end_->listener_->on_readable();
    // The listener may have ended the stream.
    if (find(number) == nullptr || stream.end_ == nullptr) return;
    if (stream.end_->listener_ == nullptr) return;
  }
  if (!stream.blocked_) return;
  if (room(stream) == 0) return wait(stream);
  if (allowed(rate_out_) == 0) return wait_for(rate_out_, stream);
  stream.blocked_ = false;
  stream.end_->listener_->on_writable();
}

}  // namespace adit::service
