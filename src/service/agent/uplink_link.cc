#include "service/agent/uplink_link.h"

#include <algorithm>
#include <cerrno>

#include "base/limits.h"

namespace adit::service {

namespace {

// Nothing has come back for what was sent this long ago, less two round trips: the path is gone.
// Moving to another socket is cheap and mends a changed address or a NAT that forgot us. Each
// further move waits twice as long, since it uses up a connection id that the relay has to replace.
constexpr Duration kUnansweredBeforeMove = 1500ms;
static_assert(limits::kLinkKeepAlive + kUnansweredBeforeMove * 3 < limits::kLinkIdleTimeout,
              "two moves before an idle link is given up");
// Streams that may overtake WELCOME; more is not a matter of order.
constexpr std::size_t kEarlyStreamsMax = limits::kStreamsPerSessionMax;

quic::Settings agent_settings(const UplinkLinkOptions& options) {
  quic::Settings s;
  s.idle_timeout = limits::kLinkIdleTimeout;
  s.keep_alive = limits::kLinkKeepAlive;
  s.handshake_deadline = limits::kLinkHandshakeDeadline;
  s.streams_bidi_max = limits::kStreamsPerSessionMax;
  s.stream_window_bytes = limits::kStreamWindowBytes;
  s.connection_window_bytes = limits::kLinkWindowBytes;
  s.random_seed = options.random_seed;
  s.initial_id_first_byte = options.affinity;
  return s;
}

}  // namespace

Result<std::unique_ptr<UplinkLink>> UplinkLink::open(io::Loop& loop, UplinkOwner& owner,
                                                     const UplinkLinkOptions& options) {
  const IpAddress any = options.relay.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
  auto socket = loop.open_udp(Address{any, 0}, io::UdpOptions{});
  if (!socket) return std::move(socket).error();
  if (auto ok = loop.connect_udp(*socket, options.relay); !ok) return std::move(ok).error();
  std::unique_ptr<UplinkLink> link(new UplinkLink(loop, owner, std::move(*socket), options.relay));
  auto connection = quic::Connection::connect(options.tls, options.server_name,
                                              quic::Path{link->local_, link->relay_},
                                              agent_settings(options), loop.now());
  if (!connection) return std::move(connection).error();
  link->quic_ = std::make_unique<flow::QuicLink>(
      loop, static_cast<flow::DatagramPort&>(*link), std::move(*connection), true);
  link->quic_->set_listener(static_cast<flow::CarrierListener*>(link.get()));
  loop.receive_datagrams(link->receive_, link->socket_);
  link->deadline_.set(loop.now() + limits::kLinkHandshakeDeadline);
  return link;
}

UplinkLink::UplinkLink(io::Loop& loop, UplinkOwner& owner, io::Socket socket, const Address& relay)
    : loop_(loop),
      owner_(owner),
      relay_(relay),
      local_(loop.local_address(socket)),
      socket_(std::move(socket)),
      receive_(io::Op::Handler::to<&UplinkLink::on_datagrams>(this)),
      writable_(io::Op::Handler::to<&UplinkLink::on_writable>(this)),
      deadline_(loop, Delegate<void()>::to<&UplinkLink::on_deadline>(this)),
      watch_(loop, Delegate<void()>::to<&UplinkLink::on_watch>(this)),
      move_wait_(kUnansweredBeforeMove) {}

UplinkLink::~UplinkLink() = default;

// --- datagrams -----------------------------------------------------------------------------------

void UplinkLink::on_datagrams(const io::Completion& c) {
  if (c.result > 0) {
    move_wait_ = kUnansweredBeforeMove;
    quic_->feed(quic::Path{local_, relay_}, c.ecn, c.data, c.segment_bytes);
  }
  if (c.more) return;
  // ECONNREFUSED and its like: nobody listens there now; the timers decide how long that may last.
  // After a move the operation ended with the old socket, and goes on with the new one.
  old_socket_.reset();
  loop_.receive_datagrams(receive_, socket_);
}

Result<std::size_t> UplinkLink::send(const quic::Outgoing& batch) {
  if (live() && !watch_.armed()) watch_.set(loop_.now() + move_wait_);
  // The socket is connected: no addresses.
  return loop_.send_datagrams(socket_, io::DatagramBatch{relay_, Address{}, batch.bytes,
                                                         batch.segment_bytes, batch.ecn});
}

void UplinkLink::wait_writable(flow::QuicLink&) {
  if (!writable_.armed()) loop_.poll(writable_, socket_.raw(), io::kWritable);
}

void UplinkLink::on_writable(const io::Completion& c) {
  if (c.result != -ECANCELED) quic_->on_port_writable();
}

void UplinkLink::on_watch() {
  const Instant since = quic_->connection().unanswered_since();
  if (since == Instant::never()) return;  // the next packet sent sets the watch again
  const Instant due = since + move_wait_ + 2 * quic_->stats().rtt;
  if (loop_.now() < due) return watch_.set(due);
  move_wait_ *= 2;
  watch_.set(since + move_wait_);
  // A socket may be refused now (no address at all); the next look tries again.
  static_cast<void>(move_socket());
}

Status UplinkLink::move_socket() {
  const IpAddress any = relay_.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
  auto socket = loop_.open_udp(Address{any, 0}, io::UdpOptions{});
  if (!socket) return std::move(socket).error();
  if (auto ok = loop_.connect_udp(*socket, relay_); !ok) return ok;
  // The operation of the old socket has to end before the same Op serves the new one: on_datagrams
  // goes on.
  loop_.cancel(receive_);
  loop_.cancel(writable_);
  if (!old_socket_) old_socket_ = std::move(socket_);
  socket_ = std::move(*socket);
  local_ = loop_.local_address(socket_);
  return quic_->migrate(static_cast<flow::DatagramPort&>(*this), quic::Path{local_, relay_});
}

// --- in protocol order ---------------------------------------------------------------------------

void UplinkLink::on_up() {
  handshake_done_ = true;
  const auto to = link::next(state_, link::LinkEvent::HandshakeDone);
  if (!to) return;  // closed in the same turn, by the deadline
  state_ = *to;
  if (auto ours = owner_.on_peer_key(*this); !ours) {
    return close(link::CloseCode::Protocol, "this is not the relay we know");
  }
  const ByteVector hello = link::to_json(owner_.make_hello(*this));
  // Too many names, or a relay that numbers its streams absurdly.
  if (hello.size() > limits::kControlFrameBytesMax)
    return close(link::CloseCode::Protocol, "HELLO would be over 64 KiB");
  ByteVector frame;
  link::write_frame(frame, link::FrameType::Hello, hello);
  deadline_.set(loop_.now() + limits::kHelloFrameDeadline);
  if (!quic_->send_control(frame)) close(link::CloseCode::Overloaded, "control channel stuck");
}

void UplinkLink::on_control(Bytes bytes) {
  auto frames = frames_.feed(bytes);
  if (!frames) return close(link::CloseCode::Protocol, frames.error().what);
  for (const link::Frame& frame : *frames) {
    if (state_ == link::LinkState::Closed) return;
    if (auto ok = on_frame(frame); !ok) return close(link::CloseCode::Protocol, ok.error().what);
  }
}

Status UplinkLink::on_frame(const link::Frame& frame) {
  Session* session = owner_.session_of(*this);
  switch (static_cast<link::FrameType>(frame.type)) {
    case link::FrameType::Welcome: {
      const auto to = link::next(state_, link::LinkEvent::WelcomeReceived);
      if (!to) return Error{0, "WELCOME at the wrong time"};
      auto welcome = link::parse_welcome(frame.body);
      if (!welcome) return std::move(welcome).error();
      if (auto ok = owner_.on_welcome(*this, *welcome); !ok) return ok;
      state_ = *to;
      deadline_.stop();
      for (flow::CarrierStream id : std::exchange(early_, {})) {
        on_stream_opened(id);
        on_stream_readable(id);
      }
      return {};
    }
    case link::FrameType::Refused: {
      if (!link::next(state_, link::LinkEvent::Refused))
        return Error{0, "REFUSED at the wrong time"};
      auto refused = link::parse_refused(frame.body);
      if (!refused) return std::move(refused).error();
      refused_ = std::move(*refused);
      owner_.on_refused(*this, *refused_);
      close(link::CloseCode::Refused, "refused");
      return {};
    }
    case link::FrameType::Goaway:
      if (const auto to = link::next(state_, link::LinkEvent::Goaway)) state_ = *to;
      return {};
    case link::FrameType::Ack:
      return session != nullptr ? session->on_ack(frame.body) : Status();
    case link::FrameType::Reset:
      return session != nullptr ? session->on_reset(frame.body) : Status();
    case link::FrameType::Probe: {
      if (frame.body.size() != 8) return Error{0, "PROBE of the wrong size"};
      ByteVector answer;
      link::write_frame(answer, link::FrameType::Probed, frame.body);
      return quic_->send_control(answer);
    }
    case link::FrameType::Hello:
      return Error{0, "a frame that only an agent sends"};
    case link::FrameType::Services:
    case link::FrameType::Probed:
      return {};
  }
  return {};
}

void UplinkLink::close(link::CloseCode code, std::string_view reason) {
  if (state_ == link::LinkState::Closed) return;
  state_ = link::LinkState::Closed;
  deadline_.stop();
  watch_.stop();
  quic_->close(static_cast<std::uint64_t>(code), reason);
}

void UplinkLink::on_deadline() { close(link::CloseCode::Deadline, "no answer in time"); }

void UplinkLink::on_down(const flow::CarrierDown& down) {
  state_ = link::LinkState::Closed;
  deadline_.stop();
  watch_.stop();
  owner_.on_link_down(*this, down);  // may destroy this
}

// --- streams -------------------------------------------------------------------------------------

void UplinkLink::on_stream_opened(flow::CarrierStream id) {
  if (Session* session = owner_.session_of(*this)) return session->on_stream_opened(id);
  if (early_.size() >= kEarlyStreamsMax)
    return close(link::CloseCode::Protocol, "streams before WELCOME");
  early_.push_back(id);
}

void UplinkLink::on_stream_readable(flow::CarrierStream id) {
  if (Session* session = owner_.session_of(*this)) session->on_stream_readable(id);
}

void UplinkLink::on_stream_reset(flow::CarrierStream id, std::uint64_t code) {
  std::erase(early_, id);
  if (Session* session = owner_.session_of(*this)) session->on_stream_reset(id, code);
}

void UplinkLink::on_stream_closed(flow::CarrierStream id) {
  if (Session* session = owner_.session_of(*this)) session->on_stream_closed(id);
}

}  // namespace adit::service
