#include "service/tunnel/link_port.h"

namespace adit::service {

namespace {

quic::Settings relay_settings(Bytes reset_secret) {
  quic::Settings s;
  s.idle_timeout = limits::kLinkIdleTimeout;
  // The agent keeps the link alive; it also has to keep its NAT's mapping
  s.keep_alive = Duration{0};
  s.handshake_deadline = limits::kLinkHandshakeDeadline;
  s.streams_bidi_max = 1;      // the control channel
  s.stream_window_bytes = limits::kStreamWindowBytes;
  s.connection_window_bytes = limits::kLinkWindowBytes;
  std::copy(reset_secret.begin(), reset_secret.end(), s.reset_secret.begin());
  return s;
}

}  // namespace

LinkPort::LinkPort(io::Loop& loop, io::Socket socket, std::size_t index,
                   const crypto::TlsContext& tls, Bytes reset_secret, Metrics& metrics,
                   Tunnel& tunnel, Fabric& fabric, const Passing& passing)
    : loop_(loop),
      socket_(std::move(socket)),
      index_(index),
      tls_(&tls),
      tunnel_(tunnel),
      fabric_(fabric),
      settings_(relay_settings(reset_secret)),
      endpoint_(static_cast<std::uint8_t>(fabric.index()),
                static_cast<std::uint8_t>(fabric.count()), reset_secret),
      receive_(io::Op::Handler::to<&LinkPort::on_datagrams>(this)),
      writable_(io::Op::Handler::to<&LinkPort::on_writable>(this)),
      datagrams_(metrics.counter("adit_datagrams_received_total")),
      stray_(metrics.counter("adit_datagrams_passed_on_total")),
      unroutable_(metrics.counter("adit_datagrams_dropped_total")),
      passage_(QuicPassage::Context{loop, passing.resolver, index, passing.table,
                                    passing.upstreams, tunnel, fabric, metrics},
               QuicPassage::Send::to<&LinkPort::send_passed>(this),
               QuicPassage::Ours::to<&LinkPort::waited>(this)) {
  loop_.receive_datagrams(receive_, socket_);
}

LinkPort::~LinkPort() { CHECK(links_.empty()); }

void LinkPort::on_datagrams(const io::Completion& c) {
  if (c.result >= 0) {
    const quic::Path path{c.local, c.peer};
    Bytes rest = c.data;
    const std::size_t segment = c.segment_bytes == 0 ? rest.size() : c.segment_bytes;
    while (!rest.empty()) {
      const std::size_t n = std::min(segment, rest.size());
      datagrams_.add();
      sort(path, c.ecn, rest.first(n), false);
      rest = rest.subspan(n);
    }
  }
  // An error here is a note of the network's about a datagram sent earlier: QUIC's timers deal with
  // that.
  if (!c.more) loop_.receive_datagrams(receive_, socket_);
}

void LinkPort::adopt(const StrayDatagram& d) {
  sort(quic::Path{d.local, d.peer}, d.ecn, d.bytes, true);
}

// What is ours is ours first, and where no name wants QUIC it ends there: the passage looks into
// Initials, which costs some 20 microseconds, of a handshake's thousand.
void LinkPort::sort(const quic::Path& path, std::uint8_t ecn, Bytes datagram, bool stray) {
  if (passage_.active() && !endpoint_.knows(datagram) &&
      passage_.take(path, ecn, datagram, stray))
    return;
  sort_ours(path, ecn, datagram, stray);
}

void LinkPort::waited(const quic::Path& path, std::uint8_t ecn, Bytes datagram) {
  sort_ours(path, ecn, datagram, false);
}

// Full or refused: as lost as if the network had dropped it.
void LinkPort::send_passed(const Address& peer, const Address& local, Bytes datagram) {
  static_cast<void>(
      loop_.send_datagrams(socket_, io::DatagramBatch{peer, local, datagram, 0, 0}));
}

void LinkPort::sort_ours(const quic::Path& path, std::uint8_t ecn, Bytes datagram, bool stray) {
  const bool busy = tunnel_.links().unauthenticated() > limits::kUnauthenticatedLinksMax / 4;
  quic::Verdict verdict = endpoint_.sort(path, datagram, busy, loop_.now());
  if (const auto* mine = std::get_if<quic::ForConnection>(&verdict)) {
    links_.at(mine->connection)->feed(path, ecn, datagram, 0);
  } else if (std::holds_alternative<quic::NewConnection>(verdict)) {
    accept(path, ecn, datagram);
  } else if (const auto* answer = std::get_if<quic::Answer>(&verdict)) {
    // Full or refused: the peer asks again.
    static_cast<void>(loop_.send_datagrams(
        socket_, io::DatagramBatch{path.peer, path.local, answer->datagram, 0, 0}));
  } else if (const auto* other = std::get_if<quic::OtherThread>(&verdict); other && !stray) {
    stray_.add();
    fabric_.pass_on(other->thread, StrayDatagram{index_, path.peer, path.local, ecn, 0,
                                                 ByteVector(datagram.begin(), datagram.end())});
  } else {
    unroutable_.add();
  }
}

void LinkPort::accept(const quic::Path& path, std::uint8_t ecn, Bytes datagram) {
  if (!tunnel_.links().has_room()) return unroutable_.add();
  auto connection = quic::Connection::accept(
      *tls_, datagram, path, settings_, static_cast<std::uint8_t>(fabric_.index()), loop_.now());
  if (!connection) return unroutable_.add();
  quic::Connection* raw = connection->get();
  auto link = std::make_unique<flow::QuicLink>(
      loop_, *this, std::move(*connection), false,
      Delegate<void(flow::QuicLink&)>::to<&LinkPort::after_feed>(this),
      Delegate<void(flow::QuicLink&)>::to<&LinkPort::forget>(this));
  flow::QuicLink* port_link = link.get();
  links_[raw] = port_link;
  endpoint_.add(*raw);
  tunnel_.links().add(std::move(link));
  port_link->feed(path, ecn, datagram, 0);
}

void LinkPort::after_feed(flow::QuicLink& link) { endpoint_.update(link.connection()); }

void LinkPort::forget(flow::QuicLink& link) {
  endpoint_.remove(link.connection());
  links_.erase(&link.connection());
}

Result<std::size_t> LinkPort::send(const quic::Outgoing& batch) {
  return loop_.send_datagrams(socket_,
                              io::DatagramBatch{batch.path.peer, batch.path.local, batch.bytes,
                                                batch.segment_bytes, batch.ecn});
}

void LinkPort::wait_writable(flow::QuicLink& link) {
  if (!link.linked()) blocked_.push_back(link);
  if (!writable_.armed()) loop_.poll(writable_, socket_.raw(), io::kWritable);
}

void LinkPort::on_writable(const io::Completion&) {
  while (flow::QuicLink* link = blocked_.pop_front()) link->on_port_writable();
}

}  // namespace adit::service
