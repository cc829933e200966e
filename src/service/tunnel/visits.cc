#include "service/tunnel/visits.h"

#include <utility>

#include "base/limits.h"
#include "service/tunnel/relay_flows.h"
#include "service/tunnel/relay_link.h"

namespace adit::service {
namespace {

std::string way_of(RelaySession& session, ServiceNumber service) {
  return "agent " + session.key().text + " service " + std::to_string(service.value) +
         (session.link() == nullptr
              ? std::string(", waiting for its link")
              : " over " + std::string(session.link()->carrier().stats().name));
}

}  // namespace

void Visits::visit(Visitor visitor, const std::string& pattern) {
  const route::NameOwner* owner = context_.table.agents.owner_of(pattern);
  if (owner == nullptr) return serve(std::move(visitor), 0, ServiceNumber{0});
  if (owner->thread != context_.fabric.index()) {
    context_.metrics.counter("adit_visitors_handed_over_total").add();
    return context_.fabric.hand_over(owner->thread, std::move(visitor), pattern);
  }
  serve(std::move(visitor), owner->session, owner->service);
}

void Visits::visit_port(Visitor visitor, std::uint64_t number, ServiceNumber service) {
  if (!context_.edge.let_in(visitor.socket, visitor.peer)) return;
  context_.edge.leave(visitor.peer);  // counted again where it is pumped or refused
  context_.edge.note(visitor, "public port tcp/" + std::to_string(visitor.local.port));
  serve(std::move(visitor), number, service);
}

bool Visits::admits_flow(std::uint64_t number, const Address& visitor) {
  RelaySession* session = context_.sessions.find(number);
  if (draining_ || session == nullptr) return false;
  const route::AgentGrant* grant = context_.access.grant(session->key().text);
  return grant == nullptr || grant->admits(visitor.ip);
}

RelayFlows* Visits::flows_for(std::uint64_t number, const Address& visitor) {
  if (!admits_flow(number, visitor)) return nullptr;
  return &context_.sessions.find(number)->flows();
}

void Visits::on_accept_failed(int error) {
  context_.metrics.counter("adit_accept_errors_total").add();
  const auto held = once_.admit(context_.loop.now(), static_cast<std::uint64_t>(error));
  if (held < 0) return;
  context_.log.warn("tunnel.accept_failed",
                    {{"error", errno_error(error, "accept").what}, {"suppressed", held}});
}

void Visits::serve(Visitor visitor, std::uint64_t number, ServiceNumber service) {
  RelaySession* session = context_.sessions.find(number);
  if (session == nullptr)  // it went while the visitor was on its way here
    return context_.edge.turn_away(std::move(visitor), TlsAlert::UnrecognizedName, "agent_gone");
  const route::AgentGrant* grant = context_.access.grant(session->key().text);
  // A probe reaches no service.
  if (grant != nullptr && !visitor.probe && !grant->admits(visitor.peer.ip))
    return context_.edge.turn_away(std::move(visitor), TlsAlert::AccessDenied, "visitor_denied");
  link::Preamble preamble;
  preamble.service = service;
  preamble.visitor = visitor.peer;
  preamble.local = visitor.local;
  preamble.sni = visitor.sni;
  if (visitor.probe) probe_reached_[number] = context_.loop.now();
  preamble.visit = visitor.tag.id;
  preamble.probe = visitor.probe;
  context_.edge.journal().leads_to(visitor.tag, way_of(*session, service));
  preamble.challenge = visitor.challenge;
  auto end = session->streams().open_stream(preamble);
  if (end == nullptr) {
    const auto held = once_.admit(context_.loop.now(), number);
    if (held >= 0) {
      context_.log.warn("tunnel.stream_limit",
                        {{"agent", session->key().text},
                         {"streams", session->streams().stream_count()},
                         {"suppressed", held}});
    }
    return context_.edge.turn_away(std::move(visitor), TlsAlert::InternalError, "stream_limit");
  }
  context_.metrics.counter("adit_streams_total").add();
  context_.edge.pump(std::move(visitor), std::move(end));
}

// --- probing -------------------------------------------------------------------------------------

std::vector<ProbeTargets::Target> Visits::probe_targets() const {
  std::vector<Target> out;
  for (const auto& [number, session] : context_.sessions.all()) {
    // A wildcard stands for no host; its session is probed by another name, or not.
    for (const GrantedName& n : session->names()) {
      if (n.pattern.starts_with("*.") || route::is_port_entry(n.pattern)) continue;
      out.push_back({number, n.pattern, session->state() == link::SessionState::Attached});
      break;
    }
  }
  return out;
}

void Visits::on_probes_lost(std::uint64_t number) {
  RelaySession* session = context_.sessions.find(number);
  if (session == nullptr) return;
  RelayLink* link = session->link();
  if (link == nullptr) return;
  // A probe that never got here (no descriptors, say) tells nothing about the agent.
  const auto reached = probe_reached_.find(number);
  const Duration fresh = limits::kProbeDeadline + 1s;
  if (reached == probe_reached_.end() || context_.loop.now() - reached->second > fresh) return;
  context_.log.warn("tunnel.link_unanswering", {{"agent", session->key().text},
                                                {"carrier", link->carrier().stats().name}});
  context_.metrics.counter("adit_links_unanswering_total").add();
  link->close(link::CloseCode::Deadline, "probes are not answered");
}

// --- explaining ----------------------------------------------------------------------------------

bool Visits::forecast(const route::NameOwner& owner, std::vector<std::string>& facts) const {
  RelaySession* const found = context_.sessions.find(owner.session);
  if (found == nullptr) {
    facts.push_back("agent " + owner.key_id + ": its session has just ended");
    return false;
  }
  RelaySession& session = *found;
  const Session& streams = session.streams();
  facts.push_back(way_of(session, owner.service) + ", " + std::string(link::name(session.state())));
  facts.push_back(std::to_string(streams.stream_count()) + " of " +
                  std::to_string(streams.streams_max()) + " visitors at a time");
  if (streams.rate() != 0)
    facts.push_back("limited to " + std::to_string(streams.rate()) + " bytes a second");
  const route::AgentGrant* grant = context_.access.grant(owner.key_id);
  if (grant != nullptr && !(grant->from.empty() && grant->not_from.empty()))
    facts.push_back("visitors by address, by its line in authorized_agents: " + format(*grant));
  return streams.stream_count() < streams.streams_max();
}

void Visits::forecast_absent(std::string_view name, std::vector<std::string>& facts) const {
  const std::string_view label = name.substr(0, name.find('.'));
  if (!route::is_key_id(label)) {
    facts.push_back("no agent that is here serves this name, and no route has it");
    return;
  }
  const std::string id(label);
  facts.push_back("agent " + id + ": no session; " +
                  (context_.access.check(id) ? "its key is not admitted: adit allow " + id
                                     : "its key is admitted: is it running?"));
}

}  // namespace adit::service
