#include "service/agent/uplink_link.h"

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "flow/h2_link.h"
#include "flow/tls_stream.h"
#include "route/router.h"

namespace adit::service {

namespace {

// Streams that may overtake WELCOME; more is not a matter of order.
constexpr std::size_t kEarlyStreamsMax = limits::kStreamsPerSessionMax;

quic::Settings quic_settings(const UplinkLinkOptions& options) {
  quic::Settings s;
  s.idle_timeout = limits::kLinkIdleTimeout;
  s.keep_alive = limits::kLinkKeepAlive;
  s.handshake_deadline = limits::kLinkHandshakeDeadline;
  s.streams_bidi_max = limits::kStreamsPerSessionMax + 1;  // the flow stream is one
  s.stream_window_bytes = limits::kStreamWindowBytes;
  s.connection_window_bytes = limits::kLinkWindowBytes;
  s.random_seed = options.random_seed;
  s.initial_id_first_byte = options.affinity;
  return s;
}

h2::Settings h2_settings() {
  h2::Settings s;
  s.stream_window_bytes = limits::kStreamWindowBytes;
  s.connection_window_bytes = limits::kLinkWindowBytes;
  s.streams_max = limits::kStreamsPerSessionMax + 2;  // control channel and flow stream
  return s;
}

}  // namespace

Result<std::unique_ptr<UplinkLink>> UplinkLink::open(io::Loop& loop, io::Resolver& resolver,
                                                     UplinkOwner& owner,
                                                     const UplinkLinkOptions& options) {
  std::unique_ptr<UplinkLink> link(new UplinkLink(loop, resolver, owner, options));
  if (options.kind != LinkCarrier::Quic) {
    link->open_tcp();
  } else if (auto begun = link->open_quic(); !begun) {
    return std::move(begun).error();
  }
  link->deadline_.set(loop.now() + limits::kLinkHandshakeDeadline);
  return link;
}

UplinkLink::UplinkLink(io::Loop& loop, io::Resolver& resolver, UplinkOwner& owner,
                       const UplinkLinkOptions& options)
    : loop_(loop),
      resolver_(resolver),
      owner_(owner),
      options_(options),
      affinity_(options.affinity),
      grow_(loop, Delegate<void()>::to<&UplinkLink::grow>(this)),
      deadline_(loop, Delegate<void()>::to<&UplinkLink::on_deadline>(this)) {}

UplinkLink::~UplinkLink() = default;

Status UplinkLink::open_quic() {
  auto port = QuicPort::open(loop_, options_.relay);
  if (!port) return std::move(port).error();
  port_ = std::move(*port);
  auto connection = quic::Connection::connect(options_.tls, options_.server_name, port_->path(),
                                              quic_settings(options_), loop_.now());
  if (!connection) return std::move(connection).error();
  carrier_ = port_->carry(std::move(*connection));
  carrier_->set_listener(static_cast<flow::CarrierListener*>(this));
  return {};
}

TcpWayOptions UplinkLink::way_options() const {
  TcpWayOptions way;
  way.kind = options_.kind;
  way.relay = options_.host;
  way.address = options_.relay;
  way.server_name = options_.server_name;
  way.proxy = options_.proxy;
  way.https = options_.https;
  way.affinity = affinity_;
  return way;
}

bool UplinkLink::network_changed() {
  if (port_) port_->look_at_path();
  if (!source_) return false;
  const auto now = source_toward(loop_, options_.relay);
  return now && *now != *source_;
}

Instant UplinkLink::unanswered_since() const {
  if (port_ != nullptr) return port_->unanswered_since();
  return pool_ != nullptr && state_ != link::LinkState::Closed ? pool_->unanswered_since()
                                                               : Instant::never();
}

void UplinkLink::open_tcp() {
  if (options_.proxy == nullptr) {
    if (const auto source = source_toward(loop_, options_.relay)) source_ = *source;
  }
  way_ = std::make_unique<TcpWay>(loop_, resolver_, way_options(),
                                  Deadline::after(loop_.now(), limits::kLinkHandshakeDeadline),
                                  TcpWay::Done::to<&UplinkLink::on_way>(this));
}

// The link's TLS and what speaks on it; null where TLS cannot begin (failure_).
std::unique_ptr<flow::H2Link> UplinkLink::make_connection(std::unique_ptr<flow::Duplex> stream) {
  const std::string hint =
      affinity_ ? std::string(route::kAlpnThreadPrefix) + std::to_string(*affinity_)
                : std::string();
  auto session = crypto::TlsSession::client(options_.tls, options_.server_name, hint);
  if (!session) {
    failure_ = session.error().what;
    return nullptr;
  }
  auto tls = std::make_unique<flow::TlsStream>(loop_, std::move(stream), std::move(*session));
  return std::make_unique<flow::H2Link>(
      loop_, std::move(tls), options_.kind == LinkCarrier::Ws ? "ws" : "h2", options_.relay,
      h2::Connection::Role::Server, h2_settings(), std::string_view());
}

void UplinkLink::on_way(Result<std::unique_ptr<flow::Duplex>> stream) {
  // The way is on the stack below: it goes with this link.
  if (!stream) return fail_before_carrier(stream.error().what);
  auto connection = make_connection(std::move(*stream));
  if (connection == nullptr) return fail_before_carrier(std::string(failure_));
  auto pool = std::make_unique<flow::H2Pool>(std::move(connection));
  pool_ = pool.get();
  carrier_ = std::move(pool);
  carrier_->set_listener(static_cast<flow::CarrierListener*>(this));
}

// --- further connections -------------------------------------------------------------------------

// With the first visitor, and every now and then while there are any: one that leaves does not say
// so. A link without visitors has one connection (the relay closes the others in time): a relay
// holds very many of those, and each connection is a TLS session and 35 KiB.
void UplinkLink::grow() {
  if (pool_ == nullptr || !live() || !pool_->has_streams()) return;
  while (pool_->connections() + members_.size() < options_.connections) {
    members_.push_back(std::make_unique<PoolMember>(
        loop_, resolver_, static_cast<PoolOwner&>(*this), way_options(),
        PoolMember::Make::to<&UplinkLink::make_connection>(this)));
  }
  grow_.set(loop_.now() + limits::kLinkConnectionAgain);
}

Result<ByteVector> UplinkLink::join_frame(flow::H2Link& link) {
  auto join = owner_.make_join(*this, link);
  if (!join) return std::move(join).error();
  ByteVector frame;
  link::write_frame(frame, link::FrameType::Join, link::to_json(*join));
  return frame;
}

void UplinkLink::on_joined(PoolMember& member, std::unique_ptr<flow::H2Link> link) {
  pool_->add_connection(std::move(link));
  on_member_failed(member);
}

void UplinkLink::on_member_failed(PoolMember& member) {
  std::erase_if(members_, [&member](const auto& m) { return m.get() == &member; });
}

// Said by the timer: the owner may be in the middle of opening this link.
void UplinkLink::fail_before_carrier(std::string_view why) {
  state_ = link::LinkState::Closed;
  failure_ = why;
  deadline_.set(loop_.now());
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
  if (!carrier_->send_control(frame)) close(link::CloseCode::Overloaded, "control channel stuck");
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
      carrier_->forget_handshake(link::kJoinLabel, link::kResumeExportBytes);
      affinity_ = welcome->affinity;
      deadline_.stop();
      if (port_) port_->watch(Delegate<void()>::to<&UplinkLink::on_suspect>(this));
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
      return carrier_->send_control(answer);
    }
    case link::FrameType::Strained: {
      const auto rate = link::parse_strained(frame.body);
      if (!rate) return rate.error();
      if (session != nullptr) owner_.on_relay_strained(*this, *rate);
      return {};
    }
    case link::FrameType::Hello:
    case link::FrameType::Join:
      return Error{0, "a frame that only an agent sends"};
    case link::FrameType::Services:
    case link::FrameType::Probed:
      return {};
  }
  return {};
}

void UplinkLink::close(link::CloseCode code, std::string_view reason) {
  if (state_ == link::LinkState::Closed) return;
  if (carrier_ == nullptr) {
    way_.reset();
    return fail_before_carrier(reason);
  }
  state_ = link::LinkState::Closed;
  deadline_.stop();
  grow_.stop();
  members_.clear();
  carrier_->close(static_cast<std::uint64_t>(code), reason);
}

void UplinkLink::on_deadline() {
  if (state_ != link::LinkState::Closed || carrier_ != nullptr)
    return close(link::CloseCode::Deadline, "no answer in time");
  flow::CarrierDown down;
  down.reason = failure_;
  owner_.on_link_down(*this, down);  // may destroy this
}

void UplinkLink::on_down(const flow::CarrierDown& down) {
  state_ = link::LinkState::Closed;
  deadline_.stop();
  owner_.on_link_down(*this, down);  // may destroy this
}

// --- streams -------------------------------------------------------------------------------------

void UplinkLink::on_stream_opened(flow::CarrierStream id) {
  if (!grow_.armed()) grow();
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

void UplinkLink::on_datagram(Bytes datagram) {
  if (Session* session = owner_.session_of(*this)) session->on_datagram(datagram);
}

void UplinkLink::on_stream_closed(flow::CarrierStream id) {
  if (Session* session = owner_.session_of(*this)) session->on_stream_closed(id);
}

}  // namespace adit::service
