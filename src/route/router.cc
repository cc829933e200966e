#include "route/router.h"

#include <algorithm>
#include <utility>

namespace adit::route {

Result<StaticRoutes> StaticRoutes::build(const std::vector<StaticRule>& rules) {
  StaticRoutes out;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    out.udp_.push_back(rules[i].udp);
    for (const std::string& pattern : rules[i].patterns) {
      const auto [at, fresh] = out.index_.emplace(pattern, i);
      if (!fresh && at->second != i) return Error{0, "two routes for \"" + pattern + "\""};
    }
    if (!rules[i].is_default) continue;
    if (out.default_) return Error{0, "two default routes"};
    out.default_ = i;
  }
  return out;
}

bool StaticRoutes::any_udp() const { return std::ranges::find(udp_, true) != udp_.end(); }

std::optional<std::size_t> StaticRoutes::find(std::string_view name) const {
  const auto found = find_by_name(index_, name);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

namespace {

bool offers(const RouteQuery& query, std::string_view protocol) {
  return std::find(query.alpn.begin(), query.alpn.end(), protocol) != query.alpn.end();
}

// RFC 8737 §3: the validation server offers acme-tls/1 and nothing beside it, over TCP. A browser
// that names it among others is a visitor.
bool is_challenge(const RouteQuery& query) {
  return query.transport == Transport::Tcp && query.alpn.size() == 1 &&
         query.alpn.front() == kAlpnAcme;
}

std::optional<Link> link_of(const RouteQuery& query) {
  if (query.transport == Transport::Tcp && offers(query, kAlpnH2Link)) return Link{Carrier::H2};
  if (query.transport == Transport::Udp && offers(query, kAlpnQuicLink))
    return Link{Carrier::Quic};
  return std::nullopt;
}

// The rules by name, alike for visitors and for challenges.
Destination by_name(const RouterTable& table, std::string name) {
  if (find_by_name(table.relay_names, name) != table.relay_names.end())
    return RelayHttps{std::move(name)};
  if (const auto agent = table.agents.find(name)) {
    std::string key(agent->pattern);
    return AgentName{std::move(name), std::move(key)};
  }
  if (const auto route = table.routes.find(name)) return StaticRoute{*route};
  const auto lease = table.leases.find(name);
  if (lease != table.leases.end()) return LeaseName{std::move(name), lease->second.port};
  return NoMatch{NoMatchReason::UnknownName};
}

// Whoever answers TLS for the name answers its challenge; behind a static route that is the
// upstream.
Destination challenge_of(Destination visitor) {
  if (auto* relay = std::get_if<RelayHttps>(&visitor))
    return AcmeChallenge{ChallengeOwner::Relay, std::move(relay->name), {}};
  if (auto* lease = std::get_if<LeaseName>(&visitor))
    return AcmeChallenge{ChallengeOwner::Relay, std::move(lease->name), {}};
  if (auto* agent = std::get_if<AgentName>(&visitor))
    return AcmeChallenge{ChallengeOwner::Agent, std::move(agent->name), std::move(agent->key)};
  return visitor;
}

// Leases, and static routes without an upstream of UDP, lead to TCP sockets.
Destination over_quic(const RouterTable& table, Destination visitor) {
  const auto* route = std::get_if<StaticRoute>(&visitor);
  if (route != nullptr && !table.routes.takes_udp(route->index))
    return NoMatch{NoMatchReason::TcpOnly};
  if (std::holds_alternative<LeaseName>(visitor)) return NoMatch{NoMatchReason::TcpOnly};
  return visitor;
}

}  // namespace

std::string port_entry(Transport transport, std::uint16_t port) {
  return (transport == Transport::Tcp ? "tcp/" : "udp/") + std::to_string(port);
}

Destination decide(const RouterTable& table, const RouteQuery& query) {
  const bool challenge = is_challenge(query);
  if (!challenge) {
    if (const auto link = link_of(query)) return *link;
  }
  if (!query.sni) {
    // RFC 8737 §3: a challenge without a name is not one, so the default route is not for it.
    const auto fallback = table.routes.default_route();
    if (challenge || !fallback) return NoMatch{NoMatchReason::NoSni};
    const Destination found = StaticRoute{*fallback};
    return query.transport == Transport::Tcp ? found : over_quic(table, found);
  }
  auto name = parse_name(*query.sni);
  if (!name) return NoMatch{NoMatchReason::UnknownName};
  Destination visitor = by_name(table, std::move(*name));
  if (challenge) return challenge_of(std::move(visitor));
  if (query.transport == Transport::Udp) return over_quic(table, std::move(visitor));
  return visitor;
}

std::string_view name(NoMatchReason reason) {
  switch (reason) {
    case NoMatchReason::UnknownName: return "unknown_name";
    case NoMatchReason::NoSni: return "no_sni";
    case NoMatchReason::TcpOnly: return "tcp_only";
  }
  return "unknown";
}

std::string_view name(Carrier carrier) { return carrier == Carrier::H2 ? "h2" : "quic"; }

namespace {

struct Describe {
  std::string operator()(const AcmeChallenge& d) const {
    if (d.owner == ChallengeOwner::Relay) return "challenge owner=relay name=" + d.name;
    return "challenge owner=agent name=" + d.name + " key=" + d.key;
  }
  std::string operator()(const Link& d) const {
    return "link carrier=" + std::string(name(d.carrier));
  }
  std::string operator()(const RelayHttps& d) const { return "relay name=" + d.name; }
  std::string operator()(const AgentName& d) const {
    return "agent name=" + d.name + " key=" + d.key;
  }
  std::string operator()(const StaticRoute& d) const {
    return "route index=" + std::to_string(d.index);
  }
  std::string operator()(const LeaseName& d) const {
    return "lease name=" + d.name + " port=" + std::to_string(d.port);
  }
  std::string operator()(const NoMatch& d) const {
    return "none reason=" + std::string(name(d.reason));
  }
};

}  // namespace

std::string describe(const Destination& destination) {
  return std::visit(Describe{}, destination);
}

}  // namespace adit::route
