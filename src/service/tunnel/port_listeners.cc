#include "service/tunnel/port_listeners.h"

#include <cerrno>

#include "base/limits.h"

namespace adit::service {

namespace {
constexpr Duration kBindAgain = 50ms;
}  // namespace

struct PortListeners::Listener {
  Listener(PortListeners& o, Bound b, ServiceNumber n)
      : owner(o),
        lease(std::move(b.lease)),
        socket(std::move(b.socket)),
        service(n),
        accept(io::Op::Handler::to<&Listener::on_accepted>(this)),
        pause(o.loop_, Delegate<void()>::to<&Listener::start>(this)) {}

  void start() { owner.loop_.accept(accept, socket); }

  void on_accepted(const io::Completion& c) {
    if (c.result < 0) {
      if (c.result == -ECANCELED) return;
      owner.visitors_.on_accept_failed(-c.result);
      if (!c.more) pause.set(owner.loop_.now() + limits::kAcceptPause);
      return;
    }
    Visitor visitor;
    visitor.socket = owner.loop_.adopt(c.result);
    visitor.peer = owner.loop_.peer_address(visitor.socket);
    visitor.local = owner.loop_.local_address(visitor.socket);
    visitor.speaks_tls = false;
    if (!c.more) start();
    owner.visitors_.visit_port(std::move(visitor), owner.session_, service);
  }

  PortListeners& owner;
  io::BoundPorts::Lease lease;
  io::Socket socket;
  const ServiceNumber service;
  io::Op accept;
  io::Timer pause;
};

PortListeners::PortListeners(io::Loop& loop, std::uint64_t session,
                             std::vector<PublicPorts> ports, std::vector<IpAddress> addresses,
                             io::BoundPorts* privileged, RelayFlows& flows,
                             PortVisitors& visitors, Metrics& metrics)
    : loop_(loop),
      session_(session),
      ports_(std::move(ports)),
      addresses_(std::move(addresses)),
      privileged_(privileged),
      flows_(flows),
      visitors_(visitors),
      metrics_(metrics),
      again_(loop, Delegate<void()>::to<&PortListeners::try_bind>(this)) {}

PortListeners::~PortListeners() = default;

void PortListeners::bind(Delegate<void(std::uint64_t session, const Status&)> bound) {
  bound_ = bound;
  give_up_at_ = loop_.now() + limits::kPortBindDeadline;
  again_.set(loop_.now());
}

void PortListeners::try_bind() {
  Status done = bind_all();
  if (!done) {
    listeners_.clear();
    udp_ports_.clear();
    udp_leases_.clear();
    if (done.error().code == EADDRINUSE && loop_.now() < give_up_at_)
      return again_.set(loop_.now() + kBindAgain);
  }
  bound_(session_, done);  // may destroy this
}

Status PortListeners::bind_all() {
  for (const PublicPorts& p : ports_)
    for (std::uint32_t port = p.range.first; port <= p.range.last; ++port)
      for (const IpAddress& ip : addresses_)
        if (auto ok = bind_one(p, Address{ip, static_cast<std::uint16_t>(port)}); !ok) return ok;
  return {};
}

// Not shared (SO_REUSEPORT): two programs that both believe to have the port would be dealt
// visitors in turn.
Result<PortListeners::Bound> PortListeners::open(route::Transport transport, const Address& at) {
  const bool tcp = transport == route::Transport::Tcp;
  const auto kind = tcp ? io::Transport::Tcp : io::Transport::Udp;
  const std::string name = (tcp ? "tcp " : "udp ") + at.text();
  if (privileged_ != nullptr && privileged_->has(at, kind)) {
    auto taken = privileged_->take(loop_, at, kind);
    if (!taken) return std::move(taken).error().with(name);
    return Bound{std::move(taken->second), std::move(taken->first)};
  }
  io::UdpOptions options;
  options.fragment = true;  // an answer of any size, as the service gave it
  auto socket = tcp ? loop_.listen_tcp(at, io::ListenOptions{false, limits::kListenBacklog})
                    : loop_.open_udp(at, options);
  if (socket) return Bound{{}, std::move(*socket)};
  Error error = std::move(socket).error().with(name);
  if (error.code == EACCES)
    error.what += "; ports below 1024 have to be in privileged_ports of the relay";
  return error;
}

Status PortListeners::bind_one(const PublicPorts& ports, const Address& at) {
  auto bound = open(ports.transport, at);
  if (!bound) return std::move(bound).error();
  if (ports.transport == route::Transport::Tcp) {
    listeners_.push_back(std::make_unique<Listener>(*this, std::move(*bound), ports.service));
    return {};
  }
  udp_leases_.push_back(std::move(bound->lease));
  udp_ports_.push_back(std::make_unique<UdpPort>(loop_, std::move(bound->socket), session_,
                                                 ports.service, flows_,
                                                 static_cast<UdpVisitors&>(visitors_), metrics_));
  return {};
}

void PortListeners::start() {
  for (auto& listener : listeners_) listener->start();
  for (auto& port : udp_ports_) port->start();
}

void PortListeners::close() {
  again_.stop();
  listeners_.clear();
}

}  // namespace adit::service
