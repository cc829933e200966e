#include "service/node/udp_session.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace adit::service {

UdpSession::UdpSession(SessionOwner& owner, NodeContext& context, NodeKey& key)
    : ClientSession(owner, Kind::Udp, key, context.loop.now()),
      context_(context),
      request_(io::ResolveRequest::Handler::to<&UdpSession::on_resolved>(this)),
      receive_(io::Op::Handler::to<&UdpSession::on_datagrams>(this)),
      again_(context.loop, Delegate<void()>::to<&UdpSession::receive>(this)) {}

UdpSession::~UdpSession() { context_.budget.sub(queue_bytes_); }

void UdpSession::open(Destination destination) {
  destination_ = std::make_unique<Destination>(std::move(destination));
  context_.resolver.resolve(
      request_, destination_->host(), destination_->port(),
      Deadline::after(context_.loop.now(), limits::kNodeConnectDeadline));
}

void UdpSession::on_resolved(const Result<std::vector<Address>>& found) {
  constexpr std::string_view kPrefix = "udp connect failed: ";
  ended_ = true;
  if (!found) return failed(failure_text(kPrefix, found.error(), true, false));
  auto selected = destination_->select(*found);
  destination_.reset();
  if (!selected) return failed(failure_text(kPrefix, selected.error(), false, false));
  Error last{ENOENT, "no address"};
  for (const Address& to : *selected) {
    auto ok = connect(to);
    if (!ok) {
      last = std::move(ok).error();
      continue;
    }
    ended_ = false;
    receive();
    for (const ByteVector& d : std::exchange(early_, {})) transmit(d);
    return opened();
  }
  failed(failure_text(kPrefix, last, false, false));
}

Status UdpSession::connect(const Address& to) {
  io::UdpOptions options;
  options.fragment = true;  // whatever the client's network let through
  options.buffer_bytes = limits::kFlowSocketBufferBytes;
  const IpAddress any = to.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
  auto socket = context_.loop.open_udp(Address{any, 0}, options);
  if (!socket) return std::move(socket).error();
  if (auto ok = context_.loop.connect_udp(*socket, to); !ok) return ok;
  socket_ = std::move(*socket);
  return {};
}

void UdpSession::send(ByteVector datagram) {
  used(context_.loop.now());
  if (ended_) return;
  if (socket_) return transmit(datagram);
  if (early_.size() == limits::kEarlyDatagramsMax) early_.pop_front();
  early_.push_back(std::move(datagram));
}

// What the kernel does not take is lost, as it may be anywhere behind it.
void UdpSession::transmit(Bytes datagram) {
  auto sent = context_.loop.send_datagrams(socket_, io::DatagramBatch{{}, {}, datagram, 0, 0});
  if (sent && *sent > 0) return;
  context_.metrics.counter("adit_node_udp_unsent_total").add();
  if (!sent && sent.error().code == ECONNREFUSED) on_trouble();
}

void UdpSession::on_datagrams(const io::Completion& c) {
  if (!c.more && c.result != -ECANCELED) again_.set(context_.loop.now());
  if (c.result < 0) {
    if (c.result != -ECANCELED) on_trouble();
    return;
  }
  errors_ = 0;
  used(context_.loop.now());
  const std::size_t segment = c.segment_bytes == 0 ? c.data.size() : c.segment_bytes;
  for (Bytes rest = c.data; !rest.empty();) {
    const std::size_t n = std::min(segment, rest.size());
    queue(rest.first(n));
    rest = rest.subspan(n);
  }
  changed();
}

// One unreachable port may be a server that starts; several in a row are the end.
void UdpSession::on_trouble() {
  if (ended_ || ++errors_ < limits::kNodeUdpErrorsMax) return;
  ended_ = true;
  changed();
}

void UdpSession::queue(Bytes datagram) {
  while (!queue_.empty() && (queue_.size() == limits::kNodeUdpQueueDatagramsMax ||
                             queue_bytes_ + datagram.size() > limits::kNodeUdpQueueBytesMax)) {
    context_.metrics.counter("adit_node_udp_dropped_total").add();
    queue_bytes_ -= queue_.front().size();
    context_.budget.sub(queue_.front().size());
    queue_.pop_front();
  }
  queue_.emplace_back(datagram.begin(), datagram.end());
  queue_bytes_ += datagram.size();
  context_.budget.add(datagram.size());
}

std::vector<ByteVector> UdpSession::fetch(std::size_t most) {
  std::vector<ByteVector> out;
  std::size_t bytes = 0;
  while (!queue_.empty() && (out.empty() || bytes + queue_.front().size() <= most)) {
    bytes += queue_.front().size();
    out.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queue_bytes_ -= bytes;
  context_.budget.sub(bytes);
  return out;
}

void UdpSession::shut() {
  request_.cancel();
  again_.stop();
  context_.loop.cancel(receive_);
  socket_.reset();
  ended_ = true;
}

}  // namespace adit::service
