#include "service/tunnel/tunnel.h"

#include <algorithm>
#include <cerrno>

#include "flow/h2_link.h"
#include "flow/tcp_stream.h"
#include "service/tunnel/join_export.h"
#include "service/tunnel/wanted_services.h"

namespace adit::service {

Tunnel::Tunnel(io::Loop& loop, Log& log, Metrics& metrics, const TunnelLimits& limits,
               route::AgentAccess access, const route::RouterTable& table,
               std::uint16_t public_port, Edge& edge, Fabric& fabric,
               const crypto::TlsContext& h2_tls)
    : loop_(loop),
      log_(log),
      metrics_(metrics),
      limits_(limits),
      access_(std::move(access)),
      public_port_(public_port),
      fabric_(fabric),
      next_session_((std::uint64_t{fabric.index()} << 48) + 1),
      links_(*this, loop, log, metrics, h2_tls),
      visits_({loop, log, metrics, sessions_, access_, table, edge, fabric}),
      join_task_(Delegate<void()>::to<&Tunnel::decide_joins>(this)) {}

Tunnel::~Tunnel() {
  for (RelayLink* link : links_.all()) link->leave_session();
}

void Tunnel::link(Visitor agent, std::optional<std::uint32_t> thread) {
  if (thread && *thread != fabric_.index() && *thread < fabric_.count())
    return fabric_.hand_over_link(*thread, std::move(agent));
  links_.accept(std::make_unique<flow::TcpStream>(loop_, std::move(agent.socket),
                                                  std::move(agent.early)),
                agent.inside_websocket ? "ws" : "h2", agent.peer, agent.sni);
}

// --- admission -----------------------------------------------------------------------------------

void Tunnel::refuse(RelayLink& link, std::string_view code, std::string text, bool again) {
  metrics_.counter("adit_links_refused_total", "code=\"" + std::string(code) + "\"").add();
  link::Refused refused;
  refused.code = code;
  refused.text = std::move(text);
  refused.again = again;
  refused.retry_after_ms = again ? 1000 : 5000;
  link.refuse(refused);
}

void Tunnel::on_hello(RelayLink& link, const link::Hello& hello) {
  const std::string& id = link.key().text;
  if (hello.version != link::kProtocolVersion) {
    return refuse(link, "version", "this relay speaks adit/1; the agent version " +
                                       std::to_string(hello.version), false);
  }
  if (draining_) return refuse(link, "draining", "the relay is going down", true);
  if (const auto no = access_.check(id)) {
    const auto held = once_.admit(loop_.now(), std::hash<std::string>{}(id));
    if (held >= 0) {
      log_.warn("tunnel.agent_refused",
                {{"code", route::code(*no)}, {"agent", id},
                 {"peer", link.carrier().stats().peer.text()},
                 {"admit_with", "adit allow " + id}, {"suppressed", held}});
    }
    return refuse(link, route::code(*no),
                  "this relay does not know the key; its operator admits it with: adit allow " + id,
                  false);
  }
  links_.bound(link, limits_.links_per_key);
  if (hello.resume && try_resume(link, hello)) return;
  start_session(link, hello);
}

bool Tunnel::try_resume(RelayLink& link, const link::Hello& hello) {
  RelaySession* const known = sessions_.find_id(hello.resume->session);
  if (known == nullptr || known->key() != link.key()) return false;
  RelaySession& session = *known;
  auto exported =
      link.carrier().export_keying_material(link::kResumeLabel, link::kResumeExportBytes);
  if (!exported || !session.proves(hello.resume->proof, *exported)) {
    log_.warn("tunnel.resume_refused", {{"agent", link.key().text}, {"why", "proof"}});
    return false;
  }
  if (RelayLink* old = session.link()) {
    old->leave_session();
    old->close(link::CloseCode::Superseded, "resumed by another link");
  }
  if (auto ok = session.streams().attach_relay(link.carrier(), &*hello.resume); !ok) {
    protocol_error(link, ok.error().what);
    session.streams().detach();
    if (session.link() != nullptr) session.link_lost(loop_.now() + limits_.resume_window);
    link.close(link::CloseCode::Protocol, ok.error().what);
    return true;
  }
  session.resumed(link);
  metrics_.counter("adit_sessions_resumed_total").add();
  log_.info("tunnel.session_resumed", {{"agent", link.key().text},
                                       {"streams", session.streams().stream_count()},
                                       {"peer", link.carrier().stats().peer.text()}});
  link::Welcome welcome = welcome_for(session);
  welcome.resumed = true;
  welcome.secret.clear();
  link.welcome(session, welcome);
  return true;
}

// --- further connections of a link over TCP ---

void Tunnel::on_join(RelayLink& link) {
  joining_.push_back(&link);
  loop_.run_later(join_task_);
}

void Tunnel::decide_joins() {
  for (RelayLink* link : std::exchange(joining_, {})) {
    if (join(*link)) continue;
    metrics_.counter("adit_links_refused_total", "code=\"join\"").add();
    log_.warn("tunnel.join_refused", {{"agent", link->key().text}});
    link->close(link::CloseCode::Refused, "this connection belongs to no link here");
  }
}

// True: its connection is the other link's, and `link` is destroyed.
bool Tunnel::join(RelayLink& link) {
  RelaySession* const known = sessions_.find_id(link.join()->session);
  if (known == nullptr || link.state() == link::LinkState::Closed) return false;
  RelaySession& session = *known;
  if (session.key() != link.key() || session.link() == nullptr) return false;
  const auto both = join_export(link.carrier(), session.link()->carrier());
  if (!both || !session.proves(link.join()->proof, *both)) return false;
  auto connection = link.leave_connection();
  links_.remove(link);
  // One too many, or for a link over QUIC: it goes, and the agent sees it closed.
  if (connection == nullptr || !session.link()->add_connection(std::move(connection))) return true;
  metrics_.counter("adit_link_connections_joined_total").add();
  return true;
}

FlowLimits Tunnel::flow_limits_of(const route::AgentGrant* grant) const {
  FlowLimits out = limits_.flows;
  if (grant != nullptr && grant->flows_max)
    out.flows_max = std::min(out.flows_max, *grant->flows_max);
  return out;
}

void Tunnel::start_session(RelayLink& link, const link::Hello& hello) {
  const std::string& id = link.key().text;
  WantedServices wanted = check_wanted(access_, id, hello.services);
  if (const auto& no = wanted.refusal) {
    if (!no->admit_with.empty()) {
      log_.warn("tunnel.name_refused", {{"agent", id}, {"name", no->subject}, {"code", no->code},
                                        {"admit_with", no->admit_with}});
    }
    return refuse(link, no->code, no->text, false);
  }

  SessionLimits limits = limits_.session;
  const route::AgentGrant* grant = access_.grant(id);
  if (grant != nullptr) {
    if (grant->streams_max) limits.streams_max = std::min(limits.streams_max, *grant->streams_max);
    limits.rate = grant->rate.value_or(0);
  }
  auto flows = std::make_unique<RelayFlows>(loop_, metrics_, flow_limits_of(grant));
  flows->set_rate(limits.rate);
  const std::uint64_t number = next_session_++;
  Pending pending;
  pending.link = &link;
  pending.session = std::make_unique<RelaySession>(
      loop_, number, link.key(), limits, std::move(flows),
      Delegate<void(RelaySession&)>::to<&Tunnel::on_window_over>(this));
  pending.session->set_names(wanted.names);
  std::unique_ptr<PortListeners> listeners;
  if (!wanted.ports.empty()) {
    listeners = std::make_unique<PortListeners>(
        loop_, number, wanted.ports, port_addresses_, privileged_ports_,
        pending.session->flows(), static_cast<PortVisitors&>(visits_), metrics_);
  }
  pending.session->set_ports(std::move(wanted.ports), std::move(listeners));
  fabric_.claim(
      ClaimRequest{fabric_.index(), number, id, std::move(wanted.names), hello.yields});
  pending_.emplace(number, std::move(pending));
}

void Tunnel::on_claimed(const ClaimAnswer& answer) {
  const auto found = pending_.find(answer.session);
  if (found == pending_.end()) return;
  if (PortListeners* ports = found->second.session->listeners();
      ports != nullptr && answer.refused_code.empty()) {
    using Bound = Delegate<void(std::uint64_t, const Status&)>;
    return ports->bind(Bound::to<&Tunnel::on_ports_bound>(this));
  }
  Pending pending = std::move(found->second);
  pending_.erase(found);
  if (answer.refused_code.empty()) return go_live(std::move(pending));
  if (pending.link != nullptr) on_refused_claim(*pending.link, answer);
}

void Tunnel::on_refused_claim(RelayLink& link, const ClaimAnswer& answer) {
  const bool port = route::is_port_entry(answer.refused_name);
  const std::string what = (port ? "port " : "name \"") + answer.refused_name + (port ? "" : "\"");
  if (answer.refused_code == kSuperseded)
    return refuse(link, kSuperseded, "another agent with the same key serves the " + what, true);
  refuse(link, port ? "port_taken" : "name_taken",
         "another agent has the " + what + " (" + answer.refused_code + ")", !port);
}

void Tunnel::on_ports_bound(std::uint64_t number, const Status& bound) {
  const auto found = pending_.find(number);
  CHECK(found != pending_.end());
  Pending pending = std::move(found->second);
  pending_.erase(found);
  if (bound) {
    pending.session->listeners()->start();
    return go_live(std::move(pending));
  }
  fabric_.release(pending.session->key().text, number);
  const bool taken = bound.error().code == EADDRINUSE;
  log_.warn("tunnel.port_refused",
            {{"agent", pending.session->key().text}, {"what", bound.error().what}});
  if (pending.link != nullptr)
    refuse(*pending.link, taken ? "port_taken" : "port_unavailable", bound.error().what, false);
}

void Tunnel::go_live(Pending pending) {
  // Gone, or on its way out: closed while the names were being claimed, for whatever reason.
  if (pending.link == nullptr || pending.link->state() != link::LinkState::Granting)
    return fabric_.release(pending.session->key().text, pending.session->number());
  RelayLink& link = *pending.link;
  RelaySession& session = sessions_.add(std::move(pending.session));
  metrics_.counter("adit_sessions_total").add();
  metrics_.gauge("adit_sessions").set(static_cast<std::int64_t>(sessions_.size()));
  CHECK(session.streams().attach_relay(link.carrier(), nullptr));
  session.resumed(link);
  link::Welcome welcome = welcome_for(session);
  welcome.secret = session.secret();
  std::string names;
  for (const GrantedName& n : session.names()) names += (names.empty() ? "" : ",") + n.pattern;
  log_.info("tunnel.session_up", {{"agent", session.key().text}, {"names", names},
                                  {"peer", link.carrier().stats().peer.text()},
                                  {"carrier", link.carrier().stats().name}});
  link.welcome(session, welcome);
}

link::Welcome Tunnel::welcome_for(RelaySession& session) const {
  link::Welcome w;
  w.software = "adit";
  w.session = session.id();
  w.public_port = public_port_;
  w.affinity = static_cast<std::uint8_t>(fabric_.index());
  w.resume_window_ms = static_cast<std::uint64_t>(limits_.resume_window / 1ms);
  for (const PublicPorts& p : session.ports()) w.services.push_back({p.service, {}, p.range});
  for (const GrantedName& n : session.names()) {
    if (route::is_port_entry(n.pattern)) continue;
    auto at = std::find_if(w.services.begin(), w.services.end(),
                           [&n](const auto& s) { return s.number == n.service; });
    if (at == w.services.end()) at = w.services.insert(at, {n.service, {}, {}});
    at->names.push_back(n.pattern);
  }
  w.next_stream = session.streams().next_stream();
  w.streams = session.streams().offsets();
  return w;
}

// --- the end of links and sessions ---------------------------------------------------------------

void Tunnel::link_down(RelayLink& link, const flow::CarrierDown& down) {
  const bool orderly = down.application && down.by_peer &&
                       down.code == static_cast<std::uint64_t>(link::CloseCode::Done);
  if (RelaySession* session = link.session()) {
    link.leave_session();
    log_.info("tunnel.link_lost", {{"agent", link.key().text},
                                   {"why", down.timeout ? std::string("silence") : down.reason},
                                   {"code", down.code},
                                   {"streams", session->streams().stream_count()}});
    session->link_lost(loop_.now() + limits_.resume_window);
    // An agent that says goodbye does not come back for its streams.
    if (orderly) drop_session(session->number(), link::ResetCode::Lost);
  }
  for (auto& [number, pending] : pending_)
    if (pending.link == &link) pending.link = nullptr;
  std::erase(joining_, &link);
  links_.remove(link);
}

void Tunnel::path_changed(RelayLink& link, const Address& peer) {
  metrics_.counter("adit_link_migrations_total").add();
  log_.info("tunnel.link_migrated", {{"agent", link.key().text}, {"peer", peer.text()}});
}

void Tunnel::protocol_error(RelayLink& link, std::string_view what) {
  metrics_.counter("adit_link_protocol_errors_total").add();
  log_.warn("tunnel.protocol_error", {{"agent", link.key().text},
                                      {"peer", link.carrier().stats().peer.text()},
                                      {"what", what}});
}

void Tunnel::on_window_over(RelaySession& session) {
  log_.info("tunnel.session_expired", {{"agent", session.key().text},
                                       {"streams", session.streams().stream_count()}});
  metrics_.counter("adit_sessions_expired_total").add();
  drop_session(session.number(), link::ResetCode::Lost);
}

void Tunnel::drop_session(std::uint64_t number, link::ResetCode) {
  const std::unique_ptr<RelaySession> session = sessions_.take(number);
  if (session == nullptr) return;
  visits_.forget(number);
  metrics_.gauge("adit_sessions").set(static_cast<std::int64_t>(sessions_.size()));
  if (RelayLink* link = session->link()) link->leave_session();
  session->ended();
  fabric_.release(session->key().text, number);
}

void Tunnel::end_session(std::uint64_t number) {
  if (const auto waiting = pending_.find(number); waiting != pending_.end()) {
    // It has the names for a while already, but not its ports yet.
    const Pending gone = std::move(waiting->second);
    pending_.erase(waiting);
    fabric_.release(gone.session->key().text, number);  // what the other has not taken
    if (gone.link != nullptr)
      gone.link->close(link::CloseCode::Superseded, "the same key took its names over");
    return;
  }
  RelaySession* const session = sessions_.find(number);
  if (session == nullptr) return;
  log_.info("tunnel.session_superseded", {{"agent", session->key().text}});
  metrics_.counter("adit_sessions_superseded_total").add();
  if (RelayLink* link = session->link()) {
    link->leave_session();
    link->close(link::CloseCode::Superseded, "the same key took its names over");
  }
  drop_session(number, link::ResetCode::Lost);
}

// --- by the operator -----------------------------------------------------------------------------

std::size_t Tunnel::kick(std::string_view key_id) {
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, session] : sessions_.all())
    if (session->key().text == key_id) numbers.push_back(number);
  for (const std::uint64_t number : numbers) {
    RelaySession& session = *sessions_.find(number);
    log_.info("tunnel.agent_kicked", {{"agent", session.key().text}});
    if (RelayLink* link = session.link()) {
      link->leave_session();
      link->close(link::CloseCode::Draining, "kicked by the operator");
    }
    drop_session(number, link::ResetCode::Lost);
  }
  return numbers.size();
}

// --- reload and drain ----------------------------------------------------------------------------

void Tunnel::set_access(route::AgentAccess access) {
  access_ = std::move(access);
  for (auto& [number, session] : sessions_.all()) {
    const route::AgentGrant* grant = access_.grant(session->key().text);
    const std::uint64_t rate = grant == nullptr ? 0 : grant->rate.value_or(0);
    session->streams().set_rate(rate);
    session->flows().set_rate(rate);
    session->flows().set_limits(flow_limits_of(grant));
  }
  for (RelayLink* link : links_.all()) {
    if (link->session() == nullptr || !access_.check(link->key().text)) continue;
    const std::uint64_t number = link->session()->number();
    log_.info("tunnel.agent_denied", {{"agent", link->key().text}});
    link->leave_session();
    link->close(link::CloseCode::Refused, "the key is not admitted any more");
    if (RelaySession* session = sessions_.find(number)) session->link_lost(loop_.now());
    drop_session(number, link::ResetCode::Lost);
  }
}

void Tunnel::go_away(Duration deadline) {
  draining_ = true;
  visits_.drain();
  for (RelayLink* link : links_.all()) link->go_away(deadline);
  for (auto& [number, session] : sessions_.all())
    if (session->listeners() != nullptr) session->listeners()->close();
}

void Tunnel::close_all() {
  for (RelayLink* link : links_.all())
    link->close(link::CloseCode::Draining, "the relay is going down");
}

}  // namespace adit::service
