#include "service/tunnel/udp_client.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/limits.h"

namespace adit::service {

UdpClient::UdpClient(io::Loop& loop, io::Resolver& resolver, const HostPort& to, Counter& unsent,
                     UdpClientListener& listener, const std::optional<Address>& as)
    : loop_(loop),
      as_(as),
      unsent_(unsent),
      listener_(listener),
      request_(io::ResolveRequest::Handler::to<&UdpClient::on_resolved>(this)),
      receive_(io::Op::Handler::to<&UdpClient::on_datagrams>(this)),
      again_(loop, Delegate<void()>::to<&UdpClient::receive>(this)) {
  resolver.resolve(request_, to.host, to.port,
                   Deadline::after(loop.now(), limits::kDialDeadline));
}

void UdpClient::on_resolved(const Result<std::vector<Address>>& addresses) {
  Error last{ENOENT, "no address"};
  if (!addresses) last = addresses.error();
  for (const Address& to : addresses ? *addresses : std::vector<Address>()) {
    auto ok = connect(to);
    if (!ok) {
      last = std::move(ok).error();
      continue;
    }
    receive();
    for (const ByteVector& d : std::exchange(early_, {})) send(d);
    return;
  }
  listener_.on_server_failed(last);
}

Status UdpClient::connect(const Address& to) {
  io::UdpOptions options;
  options.fragment = true;  // whatever the visitor's network let through
  options.buffer_bytes = limits::kFlowSocketBufferBytes;
  const IpAddress any = to.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
  options.foreign = as_.has_value();
  auto socket = loop_.open_udp(as_.value_or(Address{any, 0}), options);
  if (!socket) return std::move(socket).error();
  if (auto ok = loop_.connect_udp(*socket, to); !ok) return ok;
  socket_ = std::move(*socket);
  return {};
}

void UdpClient::send(Bytes payload) {
  if (!socket_) {
    if (early_.size() == limits::kEarlyDatagramsMax) {
      early_.pop_front();
      unsent_.add();
    }
    early_.emplace_back(payload.begin(), payload.end());
    return;
  }
  auto sent = loop_.send_datagrams(socket_, io::DatagramBatch{{}, {}, payload, 0, 0});
  if (sent && (*sent > 0 || payload.empty())) return;
  unsent_.add();
  if (!sent) listener_.on_server_unreachable(sent.error());
}

void UdpClient::on_datagrams(const io::Completion& c) {
  if (!c.more && c.result != -ECANCELED) again_.set(loop_.now());
  if (c.result < 0) {
    if (c.result == -ECONNREFUSED)
      listener_.on_server_unreachable(Error{ECONNREFUSED, "nobody listens there"});
    return;
  }
  const std::size_t segment = c.segment_bytes == 0 ? c.data.size() : c.segment_bytes;
  Bytes rest = c.data;
  do {  // also an empty one is a datagram
    const std::size_t n = std::min(segment, rest.size());
    listener_.on_server_datagram(rest.first(n));
    rest = rest.subspan(n);
  } while (!rest.empty());
}

}  // namespace adit::service
