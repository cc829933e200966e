#include "service/tunnel/session.h"

#include <algorithm>

#include "base/limits.h"

namespace adit::service {

Session::Session(io::Loop& loop, Role role, const SessionLimits& limits, StreamAcceptor* acceptor)
    : loop_(loop),
      role_(role),
      limits_(limits),
      acceptor_(acceptor),
      ack_timer_(loop, Delegate<void()>::to<&Session::send_acks>(this)),
      task_(Delegate<void()>::to<&Session::run_task>(this)) {
  CHECK((role == Role::Agent) == (acceptor != nullptr));
}

Session::~Session() {
  detach();
  for (auto& [number, stream] : streams_)
    if (stream->end_ != nullptr) stream->end_->stream_ = nullptr;
}

std::unique_ptr<flow::Duplex> Session::open_stream(link::Preamble preamble) {
  CHECK(role_ == Role::Relay);
  if (streams_.size() >= limits_.streams_max) return nullptr;
  preamble.stream = StreamNumber{next_stream_++};
  auto owned = std::make_unique<SessionStream>(*this, preamble);
  SessionStream& stream = *owned;
  streams_.emplace(preamble.stream, std::move(owned));
  if (carrier_ != nullptr) open_on_carrier(stream);
  return std::make_unique<StreamEnd>(stream);
}

// --- links -------------------------------------------------------------------------------------------

bool Session::open_on_carrier(SessionStream& stream) {
  auto id = carrier_->open_stream();
  if (!id) {
    opening_ = true;  // tried again when a stream closes
    return false;
  }
  stream.preamble_.resume_offset = stream.send_.resume_offset();
  stream.head_.clear();
  link::write_preamble(stream.head_, stream.preamble_);
  carry(stream, *id);
  return true;
}

void Session::open_waiting() {
  if (!opening_ || carrier_ == nullptr) return;
  opening_ = false;
  for (auto& [number, stream] : streams_)
    if (!stream->carried_by_ && !stream->dead_ && !open_on_carrier(*stream)) return;
}

void Session::carry(SessionStream& stream, flow::CarrierStream id) {
  stream.start_ = stream.send_.resume_offset();
  stream.carried_by_ = id;
  stream.carrier_closed_ = false;
  carried_[id] = &stream;
  carrier_->attach(id, &stream);
}

Status Session::attach_relay(flow::Carrier& carrier, const link::ResumeRequest* resume) {
  CHECK(role_ == Role::Relay);
  detach();
  if (resume != nullptr) {
    if (auto ok = resume_streams(*resume); !ok) return ok;
  }
  carrier_ = &carrier;
  opening_ = true;
  open_waiting();
  return {};
}

// Prunes what is over at the agent and takes its offsets; nothing is changed when a claim is false.
Status Session::resume_streams(const link::ResumeRequest& resume) {
  std::map<StreamNumber, std::uint64_t> listed;
  for (const link::StreamOffset& s : resume.streams) listed[s.stream] = s.handed;
  link::SeenNumbers seen;
  seen.close_gaps(std::min(resume.seen_floor + 1, next_stream_), {});
  for (std::uint64_t n : resume.seen_above) seen.add(n);

  std::vector<SessionStream*> over;
  for (auto& [number, stream] : streams_) {
    const auto found = listed.find(number);
    if (found != listed.end()) {
      if (auto ok = stream->send_.attach(found->second); !ok) return ok;
    } else if (seen.contains(number.value)) {
      over.push_back(stream.get());
    } else if (auto ok = stream->send_.attach(0); !ok) {
      return ok;
    }
  }
  for (SessionStream* stream : over) {
    // The agent has forgotten it: all was handed on in both directions, or the agent reset it.
    StreamEnd* end = stream->end_;
    const bool whole = stream->send_.finished() && stream->receive_.complete();
    stream->end_ = nullptr;
    if (end != nullptr) end->stream_ = nullptr;
    erase(*stream);
    if (end != nullptr && !whole && end->listener_ != nullptr)
      end->listener_->on_failed(Error{0, "the agent reset the stream while the link was away"});
  }
  return {};
}

Status Session::attach_agent(flow::Carrier& carrier, const link::Welcome& welcome) {
  CHECK(role_ == Role::Agent);
  detach();
  std::map<StreamNumber, std::uint64_t> listed;
  for (const link::StreamOffset& s : welcome.streams) listed[s.stream] = s.handed;
  std::vector<SessionStream*> over;
  for (auto& [number, stream] : streams_) {
    const auto found = listed.find(number);
    if (found == listed.end()) {
      over.push_back(stream.get());
    } else if (auto ok = stream->send_.attach(found->second); !ok) {
      return ok;
    }
  }
  std::vector<std::uint64_t> open;
  for (const auto& [number, handed] : listed) open.push_back(number.value);
  seen_.close_gaps(welcome.next_stream, open);
  carrier_ = &carrier;
  for (SessionStream* stream : over) {
    StreamEnd* end = stream->end_;
    stream->end_ = nullptr;
    if (end != nullptr) end->stream_ = nullptr;
    erase(*stream);
    if (end != nullptr && end->listener_ != nullptr)
      end->listener_->on_failed(Error{0, "the relay reset the stream while the link was away"});
  }
  return {};
}

void Session::detach() {
  carrier_ = nullptr;
  carried_.clear();
  unnamed_.clear();
  closing_.clear();
  acks_.clear();
  ack_timer_.stop();
  for (auto& [number, stream] : streams_) {
    const std::size_t before = stream->send_.retained();
    stream->carried_by_.reset();
    stream->send_.detach();
    stream->ack_queued_ = false;
    retained_ -= before - stream->send_.retained();
  }
  released();
}

std::vector<link::StreamOffset> Session::offsets() const {
  std::vector<link::StreamOffset> out;
  for (const auto& [number, stream] : streams_) out.push_back({number, stream->receive_.ack()});
  return out;
}

// --- from the carrier --------------------------------------------------------------------------------

SessionStream* Session::by_carrier(flow::CarrierStream id) {
  const auto found = carried_.find(id);
  return found == carried_.end() ? nullptr : found->second;
}

void Session::on_stream_opened(flow::CarrierStream id) { unnamed_[id] = true; }

void Session::on_stream_readable(flow::CarrierStream id) {
  if (unnamed_.contains(id)) return read_preamble(id);
  SessionStream* stream = by_carrier(id);
  if (stream == nullptr) return;
  ack_due(*stream, carrier_->at_end(id));
  if (stream->end_ != nullptr && stream->end_->listener_ != nullptr)
    stream->end_->listener_->on_readable();
}

void Session::read_preamble(flow::CarrierStream id) {
  std::size_t used = 0;
  auto preamble = link::parse_preamble(carrier_->readable(id), used);
  if (!preamble) return refuse(id, link::ResetCode::Protocol);
  if (!preamble->has_value()) {
    // Whole preambles fit one packet; a stream that ends before is at fault.
    if (carrier_->at_end(id)) refuse(id, link::ResetCode::Protocol);
    return;
  }
  carrier_->consume(id, used);
  unnamed_.erase(id);
  adopt(id, **preamble);
}

void Session::refuse(flow::CarrierStream id, link::ResetCode code) {
  unnamed_.erase(id);
  carrier_->reset(id, static_cast<std::uint64_t>(code));
}

void Session::adopt(flow::CarrierStream id, const link::Preamble& preamble) {
  const auto found = streams_.find(preamble.stream);
  if (found != streams_.end()) {
    SessionStream& stream = *found->second;
    // Re-opened after a lost link, at what we said we have; anything else is a number used twice.
    if (stream.carried_by_ || preamble.resume_offset != stream.receive_.bytes())
      return refuse(id, link::ResetCode::Protocol);
    carry(stream, id);
    return on_stream_readable(id);
  }
  if (preamble.resume_offset != 0 || seen_.full() || !seen_.add(preamble.stream.value))
    return refuse(id, link::ResetCode::Protocol);
  if (streams_.size() >= limits_.streams_max) {
    refuse(id, link::ResetCode::Overloaded);
    ByteVector frame;
    link::write_reset(frame, {preamble.stream, link::ResetCode::Overloaded});
    static_cast<void>(carrier_->send_control(frame));  // full: the link's owner sees that it is stuck
    return;
  }
  auto owned = std::make_unique<SessionStream>(*this, preamble);
  SessionStream& stream = *owned;
  streams_.emplace(preamble.stream, std::move(owned));
  carry(stream, id);
  acceptor_->on_stream(preamble, std::make_unique<StreamEnd>(stream));
}

// The carrier's reset repeats what a RESET frame says; whichever comes first counts.
void Session::on_stream_reset(flow::CarrierStream id, std::uint64_t code) {
  unnamed_.erase(id);
  SessionStream* stream = by_carrier(id);
  if (stream == nullptr) return;
  ByteVector body;
  Writer w(body);
  w.varint(stream->number().value);
  w.varint(code);
  static_cast<void>(on_reset(body));  // well-formed by construction
}

void Session::on_stream_closed(flow::CarrierStream id) {
  unnamed_.erase(id);
  closing_.erase(id);
  if (SessionStream* stream = by_carrier(id)) {
    stream->carrier_closed_ = true;
    const std::size_t before = stream->send_.retained();
    stream->send_.detach();
    retained_ -= before - stream->send_.retained();
    leave_carrier(*stream);
  }
  open_waiting();
}

// The carrier's stream is let go when it is closed and all that it brought is consumed.
void Session::leave_carrier(SessionStream& stream) {
  if (!stream.carrier_closed_ || !stream.receive_.complete() || !stream.carried_by_) return;
  carried_.erase(*stream.carried_by_);
  stream.carried_by_.reset();
  maybe_retire(stream);
}

Status Session::on_ack(Bytes body) {
  auto entries = link::parse_ack(body);
  if (!entries) return std::move(entries).error();
  for (const link::AckEntry& e : *entries) {
    const auto found = streams_.find(e.stream);
    if (found == streams_.end()) continue;  // over here already
    SessionStream& stream = *found->second;
    const std::size_t before = stream.send_.retained();
    if (auto ok = stream.send_.peer_handed(e.handed); !ok) return std::move(ok).with("ACK");
    retained_ -= before - stream.send_.retained();
    maybe_retire(stream);
  }
  released();
  return {};
}

Status Session::on_reset(Bytes body) {
  auto entry = link::parse_reset(body);
  if (!entry) return std::move(entry).error();
  if (role_ == Role::Agent && !seen_.full()) seen_.add(entry->stream.value);
  const auto found = streams_.find(entry->stream);
  if (found == streams_.end()) return {};
  SessionStream& stream = *found->second;
  StreamEnd* end = stream.end_;
  stream.end_ = nullptr;
  if (end != nullptr) end->stream_ = nullptr;
  if (stream.carried_by_ && carrier_ != nullptr)
    carrier_->reset(*stream.carried_by_, static_cast<std::uint64_t>(entry->code));
  erase(stream);
  if (end != nullptr && end->listener_ != nullptr)
    end->listener_->on_failed(Error{0, std::string(link::text(entry->code))});
  return {};
}

void Session::end(link::ResetCode code) {
  while (!streams_.empty()) {
    SessionStream& stream = *streams_.begin()->second;
    StreamEnd* end = stream.end_;
    stream.end_ = nullptr;
    if (end != nullptr) end->stream_ = nullptr;
    if (stream.carried_by_ && carrier_ != nullptr)
      carrier_->reset(*stream.carried_by_, static_cast<std::uint64_t>(code));
    erase(stream);
    if (end != nullptr && end->listener_ != nullptr)
      end->listener_->on_failed(Error{0, std::string(link::text(code))});
  }
}

// --- from the streams --------------------------------------------------------------------------------

void Session::ack_due(SessionStream& stream, bool at_once) {
  if (!stream.ack_queued_) {
    stream.ack_queued_ = true;
    acks_.push_back(stream.number());
  }
  if (carrier_ == nullptr) return;
  at_once = at_once || stream.receive_.ack() - stream.receive_.told() >= limits::kAckEveryBytes;
  if (at_once) {
    ack_timer_.set(loop_.now());  // fires at the end of this turn
  } else if (!ack_timer_.armed()) {
    ack_timer_.set(loop_.now() + limits::kAckDelayMax);
  }
}

void Session::send_acks() {
  if (carrier_ == nullptr) return;
  std::vector<link::AckEntry> entries;
  std::vector<StreamNumber> due;
  due.swap(acks_);
  for (StreamNumber number : due) {
    const auto found = streams_.find(number);
    if (found == streams_.end()) continue;
    SessionStream& stream = *found->second;
    stream.ack_queued_ = false;
    if (stream.carried_by_ && carrier_->at_end(*stream.carried_by_)) stream.receive_.fin_handed();
    leave_carrier(stream);
    if (stream.receive_.ack() == stream.receive_.told()) continue;
    stream.receive_.set_told();
    entries.push_back({number, stream.receive_.ack()});
    maybe_retire(stream);
  }
  if (entries.empty()) return;
  ByteVector frame;
  link::write_ack(frame, entries);
  if (!carrier_->send_control(frame))
    carrier_->close(static_cast<std::uint64_t>(link::CloseCode::Overloaded), "control channel stuck");
}

void Session::released() { loop_.run_later(task_); }

void Session::reset_by_us(SessionStream& stream, link::ResetCode code) {
  if (stream.dead_) return;
  stream.dead_ = true;
  if (carrier_ != nullptr) {
    ByteVector frame;
    link::write_reset(frame, {stream.number(), code});
    static_cast<void>(carrier_->send_control(frame));
    if (stream.carried_by_) carrier_->reset(*stream.carried_by_, static_cast<std::uint64_t>(code));
  }
  erase(stream);
}

// Over when both directions are handed on at their far sides, the far side knows, and no carrier points at
// our bytes. Erased at the end of the turn: callers still use the stream.
void Session::maybe_retire(SessionStream& stream) {
  if (stream.dead_ || stream.end_ != nullptr || stream.carried_by_) return;
  if (!stream.send_.complete() || !stream.receive_.complete()) return;
  if (stream.receive_.told() != stream.receive_.ack()) return;
  retired_.push_back(stream.number());
  released();
}

void Session::erase(SessionStream& stream) {
  CHECK(stream.end_ == nullptr);
  retained_ -= stream.send_.retained();
  const auto found = streams_.find(stream.number());
  CHECK(found != streams_.end());
  if (stream.carried_by_ && carrier_ != nullptr) {
    carried_.erase(*stream.carried_by_);
    stream.dead_ = true;
    closing_[*stream.carried_by_] = std::move(found->second);
  }
  streams_.erase(found);
}

void Session::wait(SessionStream& stream) {
  if (stream.waiting_) return;
  stream.waiting_ = true;
  waiting_.push_back(stream.number());
}

// End of the turn: streams that are over go, ends that wait for room or have something to read are told.
void Session::run_task() {
  for (StreamNumber number : std::exchange(retired_, {})) {
    const auto found = streams_.find(number);
    if (found != streams_.end() && found->second->end_ == nullptr && !found->second->carried_by_)
      erase(*found->second);
  }
  for (StreamNumber number : std::exchange(waiting_, {})) {
    const auto found = streams_.find(number);
    if (found == streams_.end()) continue;
    found->second->waiting_ = false;
    tell(*found->second);
  }
}

void Session::tell(SessionStream& stream) {
  if (stream.end_ == nullptr || stream.end_->listener_ == nullptr) return;
  const StreamNumber number = stream.number();
  if (std::exchange(stream.readable_, false)) {
    stream.end_->listener_->on_readable();
    const auto found = streams_.find(number);  // the listener may have ended it
    if (found == streams_.end() || found->second->end_ == nullptr) return;
  }
  if (!stream.blocked_) return;
  const bool room = stream.send_.room(limits_.retain_stream_bytes) > 0 &&
                    retained_ < limits_.retain_session_bytes;
  if (!room) return wait(stream);
  stream.blocked_ = false;
  stream.end_->listener_->on_writable();
}

}  // namespace adit::service
