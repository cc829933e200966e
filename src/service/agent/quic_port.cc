#include "service/agent/quic_port.h"

#include "base/limits.h"

namespace adit::service {

namespace {

// Nothing has come back for what was sent this long ago, less two round trips: the path is gone.
// Moving to another socket is cheap and mends a changed address or a NAT that forgot us. Each
// further move waits twice as long, since it uses up a connection id that the relay has to replace.
constexpr Duration kUnansweredBeforeMove = 1500ms;
static_assert(limits::kLinkKeepAlive + kUnansweredBeforeMove * 3 < limits::kLinkIdleTimeout,
              "two moves before an idle link is given up");

}  // namespace

Result<std::unique_ptr<QuicPort>> QuicPort::open(io::Loop& loop, const Address& relay) {
  const IpAddress any = relay.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
  auto socket = loop.open_udp(Address{any, 0}, io::UdpOptions{});
  if (!socket) return std::move(socket).error();
  if (auto ok = loop.connect_udp(*socket, relay); !ok) return std::move(ok).error();
  return std::unique_ptr<QuicPort>(new QuicPort(loop, std::move(*socket), relay));
}

QuicPort::QuicPort(io::Loop& loop, io::Socket socket, const Address& relay)
    : loop_(loop),
      relay_(relay),
      local_(loop.local_address(socket)),
      socket_(std::move(socket)),
      receive_(io::Op::Handler::to<&QuicPort::on_datagrams>(this)),
      writable_(io::Op::Handler::to<&QuicPort::on_writable>(this)),
      watch_(loop, Delegate<void()>::to<&QuicPort::on_watch>(this)),
      move_wait_(kUnansweredBeforeMove) {}

std::unique_ptr<flow::QuicLink> QuicPort::carry(std::unique_ptr<quic::Connection> connection) {
  auto link = std::make_unique<flow::QuicLink>(loop_, static_cast<flow::DatagramPort&>(*this),
                                               std::move(connection), true);
  link_ = link.get();
  loop_.receive_datagrams(receive_, socket_);
  return link;
}

void QuicPort::on_datagrams(const io::Completion& c) {
  if (c.result > 0) {
    move_wait_ = kUnansweredBeforeMove;
    link_->feed(path(), c.ecn, c.data, c.segment_bytes);
  }
  if (c.more) return;
  // ECONNREFUSED and its like: nobody listens there now; the timers decide how long that may last.
  // After a move the operation ended with the old socket, and goes on with the new one.
  old_socket_.reset();
  loop_.receive_datagrams(receive_, socket_);
}

Result<std::size_t> QuicPort::send(const quic::Outgoing& batch) {
  if (watching_ && !watch_.armed()) watch_.set(loop_.now() + move_wait_);
  // The socket is connected: no addresses.
  return loop_.send_datagrams(socket_, io::DatagramBatch{relay_, Address{}, batch.bytes,
                                                         batch.segment_bytes, batch.ecn});
}

void QuicPort::wait_writable(flow::QuicLink&) {
  if (!writable_.armed()) loop_.poll(writable_, socket_.raw(), io::kWritable);
}

void QuicPort::on_writable(const io::Completion& c) {
  if (c.result != -ECANCELED) link_->on_port_writable();
}

void QuicPort::on_watch() {
  const Instant since = link_->connection().unanswered_since();
  if (since == Instant::never()) return;  // the next packet sent sets the watch again
  const Instant due = since + move_wait_ + 2 * link_->stats().rtt;
  if (loop_.now() < due) return watch_.set(due);
  const bool moved = move_wait_ > kUnansweredBeforeMove;
  move_wait_ *= 2;
  watch_.set(since + move_wait_);
  if (moved && suspect_) suspect_();
  // A socket may be refused now (no address at all); the next look tries again.
  static_cast<void>(move());
}

Result<IpAddress> source_toward(io::Loop& loop, const Address& relay) {
  const IpAddress any = relay.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
  auto socket = loop.open_udp(Address{any, 0}, io::UdpOptions{});
  if (!socket) return std::move(socket).error();
  if (auto ok = loop.connect_udp(*socket, relay); !ok) return std::move(ok).error();
  return loop.local_address(*socket).ip;
}

void QuicPort::look_at_path() {
  const auto now = source_toward(loop_, relay_);
  // Where there is no way at all there will be news when there is one.
  if (now && *now != local_.ip) static_cast<void>(move());
}

Status QuicPort::move() {
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
  return link_->migrate(static_cast<flow::DatagramPort&>(*this), path());
}

}  // namespace adit::service
