#include "service/relay/relay_thread.h"

#include <algorithm>

#include "flow/tcp_stream.h"
#include "io/port_check.h"

namespace adit::service {

namespace {

std::vector<StaticUpstreams> make_upstreams(const RelaySettings& settings) {
  std::vector<StaticUpstreams> out;
  for (const std::vector<HostPort>& to : settings.upstreams)
    out.push_back({to, route::Upstreams(to.size())});
  return out;
}

route::AgentAccess make_access(const RelaySettings& s) {
  return route::AgentAccess(s.domains, s.open, s.agents);
}

// Public ports stand where the relay does. An address that another one covers would be in its way.
std::vector<IpAddress> addresses_of(const RelayPorts& ports) {
  std::vector<IpAddress> out;
  for (const auto* list : {&ports.tcp, &ports.udp})
    for (const Address& at : *list)
      if (std::find(out.begin(), out.end(), at.ip) == out.end()) out.push_back(at.ip);
  const auto has = [&out](const IpAddress& ip) { return std::ranges::find(out, ip) != out.end(); };
  if (has(IpAddress::any6())) return {IpAddress::any6()};
  if (has(IpAddress::any4()))
    std::erase_if(out, [](const IpAddress& ip) { return ip.is_v4() && ip != IpAddress::any4(); });
  return out;
}

// The journal's share of this thread, and ids that no other thread and no earlier run gives.
EdgeLimits edge_limits(const RelaySettings& settings, std::uint32_t index,
                       const RelayThreads& threads) {
  EdgeLimits out = settings.edge;
  out.journal = std::max<std::size_t>(limits::kExplainedVisitorsMax / threads.entries.size(), 1);
  out.first_visitor =
      std::uint64_t{settings.run_number & 0xffffff} << 40 | std::uint64_t{index & 0xff} << 32 | 1;
  return out;
}

// How often a draining thread looks whether the last visitor has gone.
constexpr Duration kDrainCheck = 100ms;

}  // namespace

route::RouterTable RelayThread::make_table(const RelaySettings& settings) {
  route::RouterTable table;
  for (const std::string& domain : settings.domains) table.relay_names[domain];
  for (const std::string& name : settings.own_names) table.relay_names[name];
  auto routes = route::StaticRoutes::build(settings.rules);
  CHECK(routes);  // configuration was checked
  table.routes = std::move(*routes);
  return table;
}

RelayThread::RelayThread(std::uint32_t index, const RelayThreads& threads, io::Loop& loop,
                         io::Resolver& resolver, Log& log, const RelaySettings& settings,
                         const LinkTls& tls, Bytes reset_secret)
    : index_(index),
      threads_(threads),
      loop_(loop),
      log_(log),
      tls_(&tls),
      reset_secret_(reset_secret.begin(), reset_secret.end()),
      resolver_(resolver),
      answers_(loop, metrics_),
      table_(make_table(settings)),
      udp_upstreams_(settings.udp_upstreams),
      edge_(loop, resolver, log, metrics_, edge_limits(settings, index, threads), table_,
            make_upstreams(settings), static_cast<AgentDoor&>(*this)),
      has_node_(settings.node.has_value()),
      site_(loop, log, metrics_, edge_, static_cast<SiteDoor&>(*this), tls.site),
      probe_period_(settings.probe_period),
      proxy_from_(settings.edge.proxy_from),
      drain_deadline_(loop, Delegate<void()>::to<&RelayThread::on_drain_deadline>(this)),
      drain_check_(loop, Delegate<void()>::to<&RelayThread::check_drained>(this)) {
  tunnel_.emplace(loop, log, metrics_, settings.tunnel, make_access(settings), table_,
                  settings.public_port, edge_, static_cast<Fabric&>(*this), tls.h2);
  if (index == 0) authority_.emplace();
  if (index == 0 && settings.node) {
    node_ = std::make_unique<NodeService>(loop, resolver, log, metrics_, *settings.node);
    site_.set_node(&node_->site);
  }
  prober_.emplace(loop, log, metrics_, static_cast<ProbeTargets&>(tunnel_->visits()));
}

// Visitors first: their pumps end streams of the sessions. Then links, then the ports they are sent
// through.
RelayThread::~RelayThread() {
  prober_.reset();
  edge_.close_listeners();
  site_.abort_all();
  edge_.abort_all();
  tunnel_.reset();
  ports_.clear();
}

std::uint32_t RelayThread::count() const {
  return static_cast<std::uint32_t>(threads_.entries.size());
}

// For all threads.
Status RelayThread::bind_privileged(const RelayPorts& ports) {
  for (const auto& [transport, port] : ports.privileged) {
    const bool tcp = transport == io::Transport::Tcp;
    for (const IpAddress& ip : addresses_of(ports)) {
      const Address at{ip, port};
      Status bound = io::check_port_free(at, tcp ? io::PortKind::Tcp : io::PortKind::Udp);
      if (bound) bound = ports.bound->bind(loop_, at, transport).with(at.text());
      if (!bound) return std::move(bound).with("privileged_ports");
    }
  }
  return {};
}

Status RelayThread::listen(const RelayPorts& ports) {
  tunnel_->set_port_addresses(addresses_of(ports), ports.bound);
  if (index_ == 0)
    if (auto ok = bind_privileged(ports); !ok) return ok;
  for (const Address& at : ports.tcp) {
    auto listener = loop_.listen_tcp(at, io::ListenOptions{true, limits::kListenBacklog});
    if (!listener) return std::move(listener).error().with("tcp " + at.text());
    edge_.listen(std::move(*listener));
  }
  if (!ports.tcp.empty()) {
    Address own = ports.tcp.front();
    if (own.ip.is_any()) own.ip = IpAddress::loopback4();
    own_port_ = own;
    prober_->start({probe_period_, own, is_balancer(own.ip)}, reset_secret_.size() + index_ + 1);
  }
  for (const Address& at : ports.udp) {
    io::UdpOptions options;
    options.reuse_port = true;
    options.steer_sockets = count();
    options.steer_id_bytes = quic::kConnectionIdBytes;
    auto socket = loop_.open_udp(at, options);
    if (!socket) return std::move(socket).error().with("udp " + at.text());
    ports_.push_back(std::make_unique<LinkPort>(
        loop_, std::move(*socket), ports_.size(), tls_->quic, reset_secret_, metrics_, *tunnel_,
        static_cast<Fabric&>(*this), LinkPort::Passing{resolver_, table_, udp_upstreams_}));
  }
  return {};
}

// --- names ---------------------------------------------------------------------------------------

void RelayThread::claim(ClaimRequest request) {
  const bool posted = post(threads_, 0, [r = std::move(request)](RelayThread& first) {
    first.decide_claim(r);
  });
  // Full: the link's own deadline ends the wait, and the agent tries again.
  if (!posted) metrics_.counter("adit_messages_dropped_total").add();
}

void RelayThread::decide_claim(const ClaimRequest& request) {
  const NameAuthority::Outcome outcome = authority_->claim(request);
  if (outcome.answer.refused_code.empty()) {
    broadcast({NameChange::Kind::Claim, request.key_id, request.session, request.thread,
               request.names});
  }
  for (const route::NameOwner& old : outcome.superseded) {
    post(threads_, old.thread,
         [session = old.session](RelayThread& t) { t.tunnel_->end_session(session); });
  }
  post(threads_, request.thread,
       [answer = outcome.answer](RelayThread& t) { t.tunnel_->on_claimed(answer); });
}

void RelayThread::release(const std::string& key_id, std::uint64_t session) {
  post(threads_, 0, [key_id, session](RelayThread& first) {
    first.authority_->release(key_id, session);
    first.broadcast({NameChange::Kind::ReleaseSession, key_id, session, 0, {}});
  });
}

// Messages between two threads keep their order, so every table sees the authority's order.
void RelayThread::broadcast(const NameChange& change) {
  for (std::uint32_t i = 0; i < count(); ++i)
    post(threads_, i, [change](RelayThread& t) { apply(t.table_.agents, change); });
}

// --- hand-over -----------------------------------------------------------------------------------

namespace {
// What crosses: a bare descriptor, closed by the message if it is never run.
class BareVisitor {
 public:
  BareVisitor(io::Loop& from, Visitor visitor)
      : from_(from), raw_(visitor.socket.release()), rest_(std::move(visitor)) {}
  BareVisitor(BareVisitor&& o) noexcept
      : from_(o.from_), raw_(std::exchange(o.raw_, -1)), rest_(std::move(o.rest_)) {}
  ~BareVisitor() {
    if (raw_ >= 0) from_.adopt(raw_).reset();
  }
  Visitor land(io::Loop& loop) {
    rest_.socket = loop.adopt(std::exchange(raw_, -1));
    return std::move(rest_);
  }

 private:
  io::Loop& from_;
  int raw_;
  Visitor rest_;
};
}  // namespace

void RelayThread::hand_over(std::uint32_t thread, Visitor visitor, const std::string& pattern) {
  edge_.journal().leads_to(visitor.tag, "thread " + std::to_string(thread));
  const bool posted =
      post(threads_, thread,
           [bare = BareVisitor(loop_, std::move(visitor)), pattern](RelayThread& t) mutable {
             const route::NameOwner* owner = t.table_.agents.owner_of(pattern);
             const bool here = owner != nullptr && owner->thread == t.index_;
             // A name that moved on meanwhile is served as gone: visitors are not chased around.
             Visitor landed = bare.land(t.loop_);
             t.edge_.adopt(landed, pattern);
             t.tunnel_->visits().serve(std::move(landed), here ? owner->session : 0,
                              here ? owner->service : ServiceNumber{0});
           });
  if (!posted) metrics_.counter("adit_messages_dropped_total").add();
}

void RelayThread::own_site(Visitor visitor) {
  if (!has_node_ || index_ == 0) return site_.visit(std::move(visitor));
  // Entered here; counted on thread 0 from now on.
  edge_.leave(visitor.peer);
  const bool posted = post(threads_, 0,
                           [bare = BareVisitor(loop_, std::move(visitor))](RelayThread& t) mutable {
                             Visitor landed = bare.land(t.loop_);
                             t.edge_.enter(landed.peer);
                             t.site_.visit(std::move(landed));
                           });
  if (!posted) metrics_.counter("adit_messages_dropped_total").add();
}

void RelayThread::hand_over_link(std::uint32_t thread, Visitor agent) {
  const bool posted = post(threads_, thread,
                           [bare = BareVisitor(loop_, std::move(agent))](RelayThread& t) mutable {
                             t.tunnel_->link(bare.land(t.loop_), t.index_);
                           });
  if (!posted) metrics_.counter("adit_messages_dropped_total").add();
}

// On another thread its TLS has to go on there: what the WebSocket brings is pumped through a pair
// of sockets.
void RelayThread::link_inside(std::unique_ptr<flow::Duplex> stream, const Address& peer,
                              const std::string& sni, std::optional<std::uint32_t> thread) {
  if (!thread || *thread == index_ || *thread >= count())
    return tunnel_->links().accept(std::move(stream), "ws", peer, sni);
  auto pair = loop_.stream_pair();
  if (!pair) return log_.error("site.hand_over", {{"what", pair.error().what}});
  Visitor far{std::move(pair->second), peer, {}, sni, {}};
  far.inside_websocket = true;
  site_.bridge(std::move(pair->first), std::move(stream));
  hand_over_link(*thread, std::move(far));
}

void RelayThread::pass_on(std::uint32_t thread, StrayDatagram datagram) {
  post(threads_, thread, [d = std::move(datagram)](RelayThread& t) {
    if (d.port < t.ports_.size()) t.ports_[d.port]->adopt(d);
  });
}

void RelayThread::share_id(std::size_t port, const quic::ConnectionId& id) {
  for (std::uint32_t i = 0; i < count(); ++i) {
    if (i == index_) continue;
    post(threads_, i, [port, id, owner = index_](RelayThread& t) {
      if (port < t.ports_.size()) t.ports_[port]->learn(id, owner);
    });
  }
}

// --- certificates --------------------------------------------------------------------------------

bool RelayThread::challenge(Visitor& visitor, const std::string& name) {
  if (!answers_.has(name)) return false;
  answers_.serve(name, std::make_unique<flow::TcpStream>(loop_, std::move(visitor.socket),
                                                         std::move(visitor.early)));
  return true;
}

// The library counts a context's references, so links that are up do not miss theirs.
void RelayThread::set_link_tls(std::unique_ptr<LinkTls> tls) {
  tunnel_->links().set_tls(tls->h2);
  site_.set_tls(tls->site);
  for (auto& port : ports_) port->set_tls(tls->quic);
  tls_ = tls.get();
  own_tls_ = std::move(tls);
}

// --- reload, drain, status -----------------------------------------------------------------------

bool RelayThread::is_balancer(const IpAddress& ip) const {
  return std::ranges::any_of(proxy_from_, [&ip](const IpPrefix& p) { return p.contains(ip); });
}

void RelayThread::reload(const RelaySettings& settings) {
  proxy_from_ = settings.edge.proxy_from;
  prober_->set_by_balancer(is_balancer(own_port_.ip));
  route::RouterTable fresh = make_table(settings);
  table_.relay_names = std::move(fresh.relay_names);
  table_.routes = std::move(fresh.routes);
  udp_upstreams_ = settings.udp_upstreams;
  edge_.set_upstreams(make_upstreams(settings));
  edge_.set_limits(settings.edge);
  tunnel_->set_limits(settings.tunnel);
  tunnel_->set_access(make_access(settings));
}

void RelayThread::drain(Duration deadline, Delegate<void()> drained) {
  drained_ = drained;
  prober_->stop();
  edge_.close_listeners();
  tunnel_->go_away(deadline);
  if (node_ != nullptr) node_->node.drain();
  drain_deadline_.set(loop_.now() + deadline);
  check_drained();
}

void RelayThread::check_drained() {
  // A visitor may be gone whose last bytes are not with the agent yet.
  const bool asked = node_ != nullptr && node_->site.exchanges() > 0;
  if (!edge_.idle() || tunnel_->sessions().streams() > 0 || asked)
    return drain_check_.set(loop_.now() + kDrainCheck);
  on_drain_deadline();
}

void RelayThread::on_drain_deadline() {
  drain_check_.stop();
  drain_deadline_.stop();
  if (!edge_.idle() || tunnel_->sessions().streams() > 0)
    log_.warn("relay.drain_deadline",
              {{"visitors", edge_.forwarded()}, {"streams", tunnel_->sessions().streams()}});
  site_.abort_all();
  edge_.abort_all();
  tunnel_->close_all();
  drained_();
}

ThreadStatus RelayThread::answer(const ThreadQuery& query) {
  std::size_t kicked = 0;
  if (!query.kick.empty()) kicked = tunnel_->kick(query.kick);
  ThreadStatus out = status();
  out.query = query;
  out.kicked = kicked;
  if (query.explain.empty()) return out;
  out.visitors = edge_.journal().matching(query.explain);
  if (!parse_visitor_id(query.explain)) out.forecast = forecast(query.explain);
  return out;
}

Forecast RelayThread::forecast(std::string_view name) {
  Forecast out;
  route::RouteQuery query;
  query.sni = name;
  const route::Destination destination = route::decide(table_, query);
  out.rule = route::describe(destination);
  if (const auto* agent = std::get_if<route::AgentName>(&destination)) {
    const route::NameOwner* owner = table_.agents.owner_of(agent->key);
    if (owner == nullptr) return out;
    out.decisive = owner->thread == index_;
    out.served = out.decisive && tunnel_->visits().forecast(*owner, out.facts);
    if (!out.decisive)
      out.facts.push_back("agent " + owner->key_id + " on thread " + std::to_string(owner->thread));
  } else if (const auto* fixed = std::get_if<route::StaticRoute>(&destination)) {
    out.served = edge_.forecast(fixed->index, out.facts);
  } else if (std::holds_alternative<route::NoMatch>(destination)) {
    tunnel_->visits().forecast_absent(name, out.facts);
  }
  return out;
}

ThreadStatus RelayThread::status() const {
  ThreadStatus out;
  out.thread = index_;
  out.half_open = edge_.half_open();
  out.forwarded = edge_.forwarded();
  out.links = tunnel_->links().size();
  for (const auto& [number, session] : tunnel_->sessions().all()) {
    ThreadStatus::Agent a;
    a.key_id = session->key().text;
    a.state = link::name(session->state());
    for (const GrantedName& n : session->names()) a.names.push_back(n.pattern);
    a.streams = session->streams().stream_count();
    a.flows = session->flows().size();
    a.retained_bytes = session->streams().retained_bytes();
    a.rate = session->streams().rate();
    a.streams_max = session->streams().streams_max();
    a.bytes_in = session->streams().bytes_in();
    a.bytes_out = session->streams().bytes_out();
    if (const ProbeState* probe = prober_->state_of(number)) {
      a.probe = *probe;
      a.probe_age = loop_.now() - probe->since;
    }
    if (RelayLink* link = session->link()) {
      const flow::CarrierStats s = link->carrier().stats();
      a.carrier = s.name;
      a.peer = s.peer.text();
      a.rtt = s.rtt;
    }
    out.agents.push_back(std::move(a));
  }
  out.metrics = metrics_.sample();
  return out;
}

}  // namespace adit::service
