#include "service/tunnel/udp_port.h"

#include <algorithm>
#include <cerrno>

namespace adit::service {

UdpPort::UdpPort(io::Loop& loop, io::Socket socket, std::uint64_t session, ServiceNumber service,
                 RelayFlows& flows, UdpVisitors& visitors, Metrics& m)
    : loop_(loop),
      socket_(std::move(socket)),
      session_(session),
      service_(service),
      port_(loop.local_address(socket_).port),
      flows_(flows),
      visitors_(visitors),
      receive_(io::Op::Handler::to<&UdpPort::on_datagrams>(this)),
      again_(loop, Delegate<void()>::to<&UdpPort::start>(this)),
      unsent_(m.counter("adit_flow_datagrams_dropped_total", "reason=\"not_sent\"")),
      denied_(m.counter("adit_flows_refused_total", "reason=\"visitor_denied\"")) {}

UdpPort::~UdpPort() {
  for (const auto& [key, flow] : by_visitor_) flows_.close(flow);
}

void UdpPort::on_datagrams(const io::Completion& c) {
  if (c.result >= 0) {
    const std::size_t segment = c.segment_bytes == 0 ? c.data.size() : c.segment_bytes;
    Bytes rest = c.data;
    do {  // also an empty one is a datagram
      const std::size_t n = std::min(segment, rest.size());
      on_datagram(c.peer, Address{c.local.ip, port_}, rest.first(n));
      rest = rest.subspan(n);
    } while (!rest.empty());
  }
  // An error is the network's note about an answer that it could not deliver.
  if (c.more || c.result == -ECANCELED) return;
  again_.set(loop_.now());
}

void UdpPort::on_datagram(const Address& visitor, const Address& local, Bytes payload) {
  const Key key{visitor, local.ip};
  auto found = by_visitor_.find(key);
  if (found == by_visitor_.end()) {
    if (!visitors_.admits_flow(session_, visitor)) return denied_.add();
    const auto flow = flows_.open(link::FlowOpen{service_, visitor, local, {}},
                                  static_cast<FlowSink&>(*this));
    if (!flow) return;
    found = by_visitor_.emplace(key, *flow).first;
  }
  flows_.send(found->second, payload);
}

// Full or refused: as lost as if the network had dropped it.
void UdpPort::on_answer(link::FlowNumber, const link::FlowOpen& open, Bytes payload) {
  auto sent = loop_.send_datagrams(
      socket_, io::DatagramBatch{open.visitor, open.local, payload, 0, 0});
  if (!sent || (*sent == 0 && !payload.empty())) unsent_.add();
}

void UdpPort::on_flow_over(link::FlowNumber, const link::FlowOpen& open) {
  by_visitor_.erase(Key{open.visitor, open.local.ip});
}

}  // namespace adit::service
