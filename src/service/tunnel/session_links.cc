// A session and its links: what happens when one takes over, and how streams come onto a carrier.
#include <algorithm>

#include "base/limits.h"
#include "service/tunnel/flow_channel.h"
#include "service/tunnel/session.h"

namespace adit::service {

namespace {

// A carrier at its limit of streams does not say when the peer raises it: asked again this often.
constexpr Duration kOpenAgain = limits::kAckDelayMax;

std::map<StreamNumber, std::uint64_t> by_number(const std::vector<link::StreamOffset>& streams) {
  std::map<StreamNumber, std::uint64_t> out;
  for (const link::StreamOffset& s : streams) out[s.stream] = s.handed;
  return out;
}

}  // namespace

// --- a link takes over ---------------------------------------------------------------------------

Status Session::attach_relay(flow::Carrier& carrier, const link::ResumeRequest* request) {
  CHECK(role_ == Role::Relay);
  detach();
  std::vector<StreamNumber> over;
  if (request != nullptr) {
    Offsets listed = by_number(request->streams);
    const std::set<std::uint64_t> unseen(request->unseen.begin(), request->unseen.end());
    for (const auto& [number, stream] : streams_) {
      if (listed.contains(number)) continue;
      const bool seen = number.value < request->seen_next && !unseen.contains(number.value);
      if (seen) {
        over.push_back(number);
      } else {
        listed[number] = 0;  // it has not reached the agent yet
      }
    }
    if (auto ok = resume(listed); !ok) return ok;
  }
  for (StreamNumber number : over)
    forgotten(number, "the agent reset the stream while no link was up");
  attached_to(carrier);
  opening_ = true;
  open_waiting();
  return {};
}

Status Session::attach_agent(flow::Carrier& carrier, const link::Welcome& welcome) {
  CHECK(role_ == Role::Agent);
  detach();
  const Offsets listed = by_number(welcome.streams);
  std::vector<StreamNumber> over;
  for (const auto& [number, stream] : streams_)
    if (!listed.contains(number)) over.push_back(number);
  if (auto ok = resume(listed); !ok) return ok;
  std::vector<std::uint64_t> open;
  for (const auto& [number, handed] : listed) open.push_back(number.value);
  seen_.close_gaps(welcome.next_stream, open);
  for (StreamNumber number : over)
    forgotten(number, "the relay reset the stream while no link was up");
  attached_to(carrier);
  return {};
}

// On an error nothing is changed.
Status Session::resume(const Offsets& listed) {
  for (const auto& [number, handed] : listed) {
    const SessionStream* stream = find(number);
    if (stream == nullptr) continue;  // over here: the peer learns it from what we list
    if (auto ok = stream->send_.check_resume(handed); !ok) return ok;
  }
  for (const auto& [number, handed] : listed) {
    SessionStream* stream = find(number);
    if (stream == nullptr) continue;
    const Recount recount(*stream);
    stream->send_.resume(handed);
  }
  return {};
}

void Session::attached_to(flow::Carrier& carrier) {
  carrier_ = &carrier;
  strain_.begin(loop_.now());
  if (flows_ != nullptr) flows_->attach(carrier);
  for (auto& [number, stream] : streams_) {
    // An ACK that did not get out on the lost link; HELLO and WELCOME have told the same, but only
    // an ACK counts as told (maybe_retire).
    if (stream->receive_.ack() != stream->receive_.told()) ack_due(*stream, true);
    maybe_retire(*stream);
  }
  released();
}

// The peer has no such stream any more: all was handed on in both directions, or it reset the
// stream.
void Session::forgotten(StreamNumber number, std::string_view why) {
  SessionStream* stream = find(number);
  if (stream == nullptr) return;
  const bool whole = stream->send_.finished() && stream->receive_.complete();
  StreamEnd* end = part(*stream);
  erase(*stream);
  if (end != nullptr && !whole) end->fail(Error{0, std::string(why)});
}

void Session::detach() {
  carrier_ = nullptr;
  if (flows_ != nullptr) flows_->detach();
  carried_.clear();
  unnamed_.clear();
  acks_.clear();
  ack_timer_.stop();
  open_timer_.stop();
  for (auto& [number, stream] : streams_) {
    const Recount recount(*stream);
    stream->carried_by_.reset();
    stream->carrier_closed_ = false;
    stream->send_.detach();
    stream->ack_queued_ = false;
  }
  released();
}

std::vector<link::StreamOffset> Session::offsets() const {
  std::vector<link::StreamOffset> out;
  for (const auto& [number, stream] : streams_) out.push_back({number, stream->receive_.ack()});
  return out;
}

// --- streams come onto a carrier -----------------------------------------------------------------

// Not where this link has carried it to the end already, or nothing is left to carry.
bool Session::wants_carrier(const SessionStream& stream) const {
  return !stream.carried_by_ && !stream.carrier_closed_ &&
         !(stream.send_.complete() && stream.receive_.complete());
}

bool Session::open_on_carrier(SessionStream& stream) {
  auto id = carrier_->open_stream();
  if (!id) {
    opening_ = true;
    open_timer_.set(loop_.now() + kOpenAgain);
    return false;
  }
  stream.preamble_.resume_offset = stream.send_.resume_offset();
  stream.head_.clear();
  link::write_preamble(stream.head_, stream.preamble_);
  carry(stream, *id);
  return true;
}

// Oldest first.
void Session::open_waiting() {
  if (!opening_ || carrier_ == nullptr) return;
  opening_ = false;
  for (auto& [number, stream] : streams_)
    if (wants_carrier(*stream) && !open_on_carrier(*stream)) return;
}

void Session::carry(SessionStream& stream, flow::CarrierStream id) {
  stream.start_ = stream.send_.resume_offset();
  stream.send_.attach();
  stream.carried_by_ = id;
  carried_[id] = &stream;
  carrier_->attach(id, &stream);
}

// The carrier's stream is let go when it is closed and all that it brought is consumed.
void Session::leave_carrier(SessionStream& stream) {
  if (!stream.carried_by_ || !stream.carrier_closed_ || !stream.receive_.complete()) return;
  carried_.erase(*stream.carried_by_);
  stream.carried_by_.reset();
  maybe_retire(stream);
}

void Session::on_stream_opened(flow::CarrierStream id) { unnamed_.insert(id); }

void Session::read_preamble(flow::CarrierStream id) {
  if (flows_ != nullptr && flows_->adopt(id)) {
    unnamed_.erase(id);
    return flows_->on_readable();
  }
  std::size_t used = 0;
  auto preamble = link::parse_preamble(carrier_->readable(id), used);
  if (!preamble) return refuse(id, link::ResetCode::Protocol);
  if (!preamble->has_value()) {
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
  const StreamNumber number = preamble.stream;
  if (SessionStream* known = find(number)) return readopt(*known, id, preamble.resume_offset);
  // Reset here while it was on its way, between two links or by a RESET that overtook it.
  if (seen_.contains(number.value)) return refuse(id, link::ResetCode::Cancelled);
  if (preamble.resume_offset != 0 || !seen_.add(number.value))
    return refuse(id, link::ResetCode::Protocol);
  if (streams_.size() >= limits_.streams_max) return refuse(id, link::ResetCode::Overloaded);
  auto owned = std::make_unique<SessionStream>(*this, preamble);
  SessionStream& stream = *owned;
  streams_.emplace(number, std::move(owned));
  carry(stream, id);
  note_end(stream);
  acceptor_->on_stream(preamble, std::make_unique<StreamEnd>(loop_, stream));
}

// Opened again after a lost link, at what we said we have.
void Session::readopt(SessionStream& stream, flow::CarrierStream id, std::uint64_t resume_offset) {
  // A number used twice on one link.
  if (stream.carried_by_ || stream.carrier_closed_) return refuse(id, link::ResetCode::Protocol);
  if (resume_offset != stream.receive_.bytes()) {
    refuse(id, link::ResetCode::Protocol);
    return fail(stream, link::ResetCode::Protocol);
  }
  carry(stream, id);
  on_stream_readable(id);
}

}  // namespace adit::service
