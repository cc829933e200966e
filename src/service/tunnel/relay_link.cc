#include "service/tunnel/relay_link.h"

#include "base/limits.h"
#include "flow/h2_link.h"
#include "service/tunnel/relay_session.h"
#include "service/tunnel/tunnel.h"

namespace adit::service {

RelayLink::RelayLink(Tunnel& tunnel, std::unique_ptr<flow::Carrier> carrier, Instant deadline)
    : tunnel_(tunnel),
      carrier_(std::move(carrier)),
      deadline_(tunnel.loop(), Delegate<void()>::to<&RelayLink::on_deadline>(this)),
      spare_(tunnel.loop(), Delegate<void()>::to<&RelayLink::on_spare>(this)) {
  carrier_->set_listener(this);
  deadline_.set(deadline);
}

RelayLink::~RelayLink() { CHECK(session_ == nullptr); }

bool RelayLink::step(link::LinkEvent event) {
  const auto to = link::next(state_, event);
  if (!to) return false;
  state_ = *to;
  return true;
}

// --- in protocol order ---------------------------------------------------------------------------

void RelayLink::on_up() {
  if (!step(link::LinkEvent::HandshakeDone)) return;
  const ByteVector spki = carrier_->peer_spki_der();
  if (spki.empty())
    return close(link::CloseCode::Protocol, "no client certificate: an agent shows its key");
  key_ = crypto::key_id_of_spki(spki);
  deadline_.set(tunnel_.loop().now() + limits::kHelloFrameDeadline);
}

void RelayLink::on_control(Bytes bytes) {
  auto frames = frames_.feed(bytes);
  if (!frames) return close(link::CloseCode::Protocol, frames.error().what);
  for (const link::Frame& frame : *frames) {
    if (state_ == link::LinkState::Closed) return;
    if (auto ok = on_frame(frame); !ok) {
      tunnel_.protocol_error(*this, ok.error().what);
      return close(link::CloseCode::Protocol, ok.error().what);
    }
  }
}

Status RelayLink::on_frame(const link::Frame& frame) {
  switch (static_cast<link::FrameType>(frame.type)) {
    case link::FrameType::Hello:
      return on_hello(frame.body);
    case link::FrameType::Join:
      return on_join(frame.body);
    case link::FrameType::Ack:
      return session_ != nullptr ? session_->streams().on_ack(frame.body) : Status();
    case link::FrameType::Reset:
      return session_ != nullptr ? session_->streams().on_reset(frame.body) : Status();
    case link::FrameType::Probe:
      if (frame.body.size() != 8) return Error{0, "PROBE of the wrong size"};
      send(link::FrameType::Probed, frame.body);
      return {};
    case link::FrameType::Welcome:
    case link::FrameType::Refused:
    case link::FrameType::Goaway:
    case link::FrameType::Strained:
      return Error{0, "a frame that only a relay sends"};
    case link::FrameType::Services:
    case link::FrameType::Probed:
      return {};
  }
  return {};  // unknown: from a newer agent
}

Status RelayLink::on_hello(Bytes body) {
  if (!step(link::LinkEvent::HelloReceived)) return Error{0, "HELLO at the wrong time"};
  auto hello = link::parse_hello(body);
  if (!hello) return std::move(hello).error();
  deadline_.set(tunnel_.loop().now() + limits::kHelloFrameDeadline);
  tunnel_.on_hello(*this, *hello);
  return {};
}

// Decided outside of this call, which comes from the connection that is to be moved.
Status RelayLink::on_join(Bytes body) {
  if (!step(link::LinkEvent::HelloReceived)) return Error{0, "JOIN at the wrong time"};
  auto join = link::parse_join(body);
  if (!join) return std::move(join).error();
  join_ = std::move(*join);
  tunnel_.on_join(*this);
  return {};
}

std::unique_ptr<flow::H2Link> RelayLink::leave_connection() {
  settle();
  return carrier_->release_connection();
}

void RelayLink::welcome(RelaySession& session, const link::Welcome& welcome) {
  CHECK(step(link::LinkEvent::Granted));
  session_ = &session;
  settle();
  deadline_.stop();
  carrier_->forget_handshake(link::kJoinLabel, link::kResumeExportBytes);
  send(link::FrameType::Welcome, link::to_json(welcome));
}

void RelayLink::refuse(const link::Refused& refused) {
  if (!step(link::LinkEvent::Refused)) return;
  send(link::FrameType::Refused, link::to_json(refused));
  // The agent closes when it has read it; the deadline is for one that does not.
  deadline_.set(tunnel_.loop().now() + 2s);
}

void RelayLink::go_away(Duration deadline) {
  if (!step(link::LinkEvent::Goaway)) return;
  link::Goaway m;
  m.deadline_ms = static_cast<std::uint64_t>(deadline / 1ms);
  send(link::FrameType::Goaway, link::to_json(m));
}

void RelayLink::send(link::FrameType type, Bytes body) {
  // An agent with a name under very many domains, say.
  if (body.size() > limits::kControlFrameBytesMax)
    return close(link::CloseCode::Overloaded, "WELCOME would be over 64 KiB");
  ByteVector frame;
  link::write_frame(frame, type, body);
  if (!carrier_->send_control(frame))
    close(link::CloseCode::Overloaded, "the agent does not read its control channel");
}

void RelayLink::close(link::CloseCode code, std::string_view reason) {
  if (state_ == link::LinkState::Closed && code != link::CloseCode::Refused) return;
  state_ = link::LinkState::Closed;
  deadline_.stop();
  carrier_->close(static_cast<std::uint64_t>(code), reason);
}

bool RelayLink::add_connection(std::unique_ptr<flow::H2Link> connection) {
  if (session_ == nullptr || !carrier_->add_connection(std::move(connection))) return false;
  if (spare_.armed()) return true;
  stream_before_ = session_->streams().next_stream();
  spare_.set(tunnel_.loop().now() + limits::kLinkConnectionsIdle);
  return true;
}

// The relay closes them, since it is the relay that opens streams: the agent could close one at the
// moment in which a stream comes. A session without streams knows that the agent has handed
// everything on.
void RelayLink::on_spare() {
  if (session_ == nullptr) return;
  const std::uint64_t next = session_->streams().next_stream();
  const bool idle = session_->streams().stream_count() == 0 && stream_before_ == next;
  stream_before_ = next;
  if (idle && carrier_->close_spare_connections() == 0) return;
  spare_.set(tunnel_.loop().now() + limits::kLinkConnectionsIdle);
}

void RelayLink::on_deadline() {
  const bool refused = state_ == link::LinkState::Closed;
  close(refused ? link::CloseCode::Refused : link::CloseCode::Deadline,
        refused ? "refused" : "no HELLO in time");
}

// --- streams -------------------------------------------------------------------------------------

void RelayLink::on_stream_readable(flow::CarrierStream id) {
  if (session_ != nullptr) session_->streams().on_stream_readable(id);
}

void RelayLink::on_stream_reset(flow::CarrierStream id, std::uint64_t code) {
  if (session_ != nullptr) session_->streams().on_stream_reset(id, code);
}

void RelayLink::on_stream_closed(flow::CarrierStream id) {
  if (session_ != nullptr) session_->streams().on_stream_closed(id);
}

void RelayLink::on_datagram(Bytes datagram) {
  if (session_ != nullptr) session_->streams().on_datagram(datagram);
}

void RelayLink::on_path_changed(const Address& peer) { tunnel_.path_changed(*this, peer); }

void RelayLink::settle() {
  if (!std::exchange(settled_, true)) tunnel_.links().settled(*this);
}

void RelayLink::on_down(const flow::CarrierDown& down) {
  settle();
  state_ = link::LinkState::Closed;
  deadline_.stop();
  spare_.stop();
  tunnel_.link_down(*this, down);  // destroys this
}

}  // namespace adit::service
