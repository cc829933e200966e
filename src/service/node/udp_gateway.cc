#include "service/node/udp_gateway.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/limits_node.h"

namespace adit::service {

bool is_udp_gateway(std::string_view host, std::uint16_t port, bool old) {
  return port == 7300 && (host == "192.0.2.1" || (old && host == "198.18.0.1"));
}

UdpGateway::UdpGateway(NodeContext& context, NodeKey& key)
    : context_(context),
      key_(key),
      announce_(Delegate<void()>::to<&UdpGateway::announce>(this)),
      idle_(context.loop, Delegate<void()>::to<&UdpGateway::on_idle>(this)) {}

UdpGateway::~UdpGateway() = default;

void UdpGateway::start() {
  started_ = true;
  if (!engine_.output().empty()) context_.loop.run_later(announce_);
}

std::size_t UdpGateway::write(Bytes bytes) {
  engine_.feed(bytes, context_.loop.now());
  work();
  return bytes.size();
}

void UdpGateway::abort() {
  flows_.clear();
  idle_.stop();
}

// What the engine wants done; whatever is done may make it want more.
void UdpGateway::work() {
  for (auto events = engine_.take_events(); !events.empty(); events = engine_.take_events()) {
    for (const udpgw::Event& event : events) {
      if (const auto* o = std::get_if<udpgw::Open>(&event)) {
        open(*o);
      } else if (const auto* s = std::get_if<udpgw::Send>(&event)) {
        send(*s);
      } else {
        flows_.erase(std::get<udpgw::Close>(event).flow);
      }
    }
  }
  set_idle();
  if (started_ && !engine_.output().empty()) context_.loop.run_later(announce_);
}

void UdpGateway::open(const udpgw::Open& event) {
  auto destination = Destination::make(context_, key_, event.target.host(), event.target.port);
  if (!destination) return engine_.failed(event.flow);
  auto flow = std::make_unique<Flow>(*this, event.flow, std::move(*destination));
  Flow& there = *flow;
  flows_.emplace(event.flow, std::move(flow));
  context_.resolver.resolve(
      there.request, there.destination.host(), there.destination.port(),
      Deadline::after(context_.loop.now(), limits::kNodeConnectDeadline));
}

void UdpGateway::send(const udpgw::Send& event) {
  const auto found = flows_.find(event.flow);
  if (found == flows_.end()) return;
  auto sent = context_.loop.send_datagrams(found->second->socket,
                                           io::DatagramBatch{{}, {}, event.datagram, 0, 0});
  if (sent && *sent > 0) return;
  if (sent && event.datagram.empty()) return;  // sent: there is nothing of it to count
  context_.metrics.counter("adit_node_udp_unsent_total").add();
  // An ICMP error to the one before shows here; the datagram was not sent.
  if (!sent) fail(event.flow, sent.error().what);
}

UdpGateway::Flow::Flow(UdpGateway& owner, udpgw::FlowId number, Destination to)
    : gateway(owner),
      id(number),
      destination(std::move(to)),
      request(io::ResolveRequest::Handler::to<&Flow::on_resolved>(this)),
      operation(io::Op::Handler::to<&Flow::on_datagrams>(this)),
      again(owner.context_.loop, Delegate<void()>::to<&Flow::receive>(this)) {}

void UdpGateway::Flow::on_resolved(const Result<std::vector<Address>>& found) {
  UdpGateway& g = gateway;
  auto status = found ? Status() : Status(found.error());
  if (found) {
    auto selected = destination.select(*found);
    status = selected ? g.connect(*this, *selected) : Status(std::move(selected).error());
  }
  if (status) {
    g.engine_.opened(id);
  } else {
    g.fail(id, status.error().what);  // we are gone
  }
  g.work();
}

Status UdpGateway::connect(Flow& flow, const std::vector<Address>& to) {
  Status last = Error{ENOENT, "no address"};
  for (const Address& address : to) {
    io::UdpOptions options;
    options.fragment = true;  // whatever the client's network let through
    options.buffer_bytes = limits::kFlowSocketBufferBytes;
    const IpAddress any = address.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
    auto socket = context_.loop.open_udp(Address{any, 0}, options);
    if (!socket) {
      last = std::move(socket).error();
      continue;
    }
    last = context_.loop.connect_udp(*socket, address);
    if (!last) continue;
    flow.socket = std::move(*socket);
    flow.receive();
    return {};
  }
  return last;
}

void UdpGateway::Flow::on_datagrams(const io::Completion& c) {
  UdpGateway& g = gateway;
  if (!c.more && c.result != -ECANCELED) again.set(g.context_.loop.now());
  if (c.result < 0) {
    // One unreachable port may be a server that starts.
    if (c.result != -ECANCELED && ++errors >= limits::kNodeUdpErrorsMax) {
      g.fail(id, "unreachable");  // we are gone
      g.work();
    }
    return;
  }
  errors = 0;
  const Instant now = g.context_.loop.now();
  const std::size_t segment = c.segment_bytes == 0 ? c.data.size() : c.segment_bytes;
  if (c.data.empty()) g.engine_.received(id, {}, now);
  for (Bytes rest = c.data; !rest.empty();) {
    const std::size_t n = std::min(segment, rest.size());
    g.engine_.received(id, rest.first(n), now);
    rest = rest.subspan(n);
  }
  g.work();
}

void UdpGateway::fail(udpgw::FlowId id, std::string_view why) {
  context_.log.debug("node.udp_gateway", {{"key", key_.name()}, {"failed", why}});
  flows_.erase(id);
  engine_.failed(id);
}

void UdpGateway::announce() {
  if (listener_ != nullptr && !engine_.output().empty()) listener_->on_readable();
}

void UdpGateway::on_idle() {
  engine_.expire(context_.loop.now());
  work();
}

// What is used meanwhile moves the time further, which on_idle() finds out.
void UdpGateway::set_idle() {
  if (engine_.flows() == 0) return idle_.stop();
  if (!idle_.armed()) idle_.set(engine_.next_expiry());
}

}  // namespace adit::service
