// The keys of a relay.

#include <set>

#include "app/config_acme.h"
#include "app/config_keys.h"
#include "base/limits.h"
#include "route/access.h"
#include "route/name.h"
#include "route/router.h"

namespace adit::app {

namespace {

constexpr std::size_t kUpstreamsPerRouteMax = 64;

Result<HostPort> parse_upstream(std::string_view text) { return HostPort::parse(text); }

// --- listen ---

// "ADDRESS", "ADDRESS/tcp", "ADDRESS/udp"
std::optional<ListenConfig> listen_word(const Node& node, std::string_view path, Reading& r) {
  const auto text = r.text(node, path);
  if (!text) return std::nullopt;
  std::string_view address = *text;
  ListenConfig out;
  if (address.ends_with("/tcp")) out.udp = false;
  if (address.ends_with("/udp")) out.tcp = false;
  if (!out.tcp || !out.udp) address.remove_suffix(4);
  auto parsed = Address::parse(address);
  if (!parsed) {
    r.fault(node.place, path, parsed.error().what,
            "write an IP address and a port, or a port alone, as in \":443\"");
    return std::nullopt;
  }
  out.address = *parsed;
  // A port alone: IPv6 and IPv4 by one socket.
  if (parsed->ip == IpAddress::any4() && address.find('.') == address.npos)
    out.address.ip = IpAddress::any6();
  return out;
}

std::optional<ListenConfig> read_listen(const Node& node, std::string_view path, Reading& r) {
  const auto* table = std::get_if<NodeTable>(&node.value);
  if (table == nullptr) return listen_word(node, path, r);
  if (!check_item(node, {"listen", {"address", "tcp", "udp"}, "address"}, r)) return std::nullopt;
  auto out = listen_word(*find(*table, "address"), "listen.address", r);
  if (!out) return std::nullopt;
  if (const Node* tcp = find(*table, "tcp"))
    out->tcp = r.boolean(*tcp, "listen.tcp").value_or(out->tcp);
  if (const Node* udp = find(*table, "udp"))
    out->udp = r.boolean(*udp, "listen.udp").value_or(out->udp);
  if (out->tcp || out->udp) return out;
  r.fault(node.place, path, "tcp and udp are both false", "leave the listener out");
  return std::nullopt;
}

Node write_listen(const ListenConfig& listen) {
  return {listen.address.text() + (!listen.udp ? "/tcp" : !listen.tcp ? "/udp" : ""), {}};
}

// --- privileged ports ---

Result<PrivilegedPorts> parse_privileged(std::string_view text) {
  const std::string_view ports = text.substr(0, text.find('/'));
  const std::string_view kind = text.substr(ports.size());
  if (!kind.empty() && kind != "/tcp" && kind != "/udp")
    return Error{0, "\"" + std::string(text.substr(0, 80)) + "\" ends in neither /tcp nor /udp"};
  auto range = route::parse_port_range(ports);
  if (!range) return std::move(range).error();
  return PrivilegedPorts{*range, kind != "/udp", kind != "/tcp"};
}

// "80", "80/tcp", "5-7/udp"; a number alone may be one.
std::optional<PrivilegedPorts> read_privileged(const Node& node, std::string_view path,
                                               Reading& r) {
  if (!std::holds_alternative<std::int64_t>(node.value))
    return r.parsed(node, path, parse_privileged);
  const auto port = r.number(node, path, 1, UINT16_MAX);
  if (!port) return std::nullopt;
  const auto number = static_cast<std::uint16_t>(*port);
  return PrivilegedPorts{{number, number}};
}

Node write_privileged(const PrivilegedPorts& p) {
  return {p.range.text() + (!p.udp ? "/tcp" : !p.tcp ? "/udp" : ""), {}};
}

// --- route ---

// "SNI[,SNI...]=HOST:PORT[,HOST:PORT...]", where the SNI "*" stands for default = true: the table
// that a file would have in its place.
std::optional<Node> split_route(const Node& word, std::string_view path, Reading& r) {
  const auto text = r.text(word, path);
  if (!text) return std::nullopt;
  const std::size_t equals = text->find('=');
  if (equals == text->npos) {
    r.fault(word.place, path, "\"" + *text + "\" is not SNI=HOST:PORT");
    return std::nullopt;
  }
  const auto pieces = [&](std::string_view list) {
    NodeList out;
    while (true) {
      const std::string_view piece = list.substr(0, list.find(','));
      out.push_back({std::string(piece), word.place, true});
      if (piece.size() == list.size()) return out;
      list.remove_prefix(piece.size() + 1);
    }
  };
  NodeList names = pieces(std::string_view(*text).substr(0, equals));
  NodeList to = pieces(std::string_view(*text).substr(equals + 1));
  const std::size_t stars = std::erase_if(
      names, [](const Node& n) { return std::get<std::string>(n.value) == "*"; });
  NodeTable table;
  if (stars > 0) table.push_back({"default", word.place, {true, word.place}});
  if (!names.empty()) table.push_back({"sni", word.place, {std::move(names), word.place}});
  table.push_back({"to", word.place, {std::move(to), word.place}});
  return Node{std::move(table), word.place};
}

std::optional<RouteConfig> read_route(const Node& item, std::string_view path, Reading& r) {
  std::optional<Node> split;
  if (!std::holds_alternative<NodeTable>(item.value)) {
    split = split_route(item, path, r);
    if (!split) return std::nullopt;
  }
  const Node& node = split ? *split : item;
  const auto& table = std::get<NodeTable>(node.value);
  const std::size_t faults = r.errors.size();
  bool complete = check_item(node, {"route", {"sni", "to", "to_udp", "default"}, "to"}, r);
  RouteConfig out;
  if (const Node* fallback = find(table, "default"))
    out.is_default = r.boolean(*fallback, "route.default").value_or(false);
  if (const Node* sni = find(table, "sni")) {
    for (const Node* one : r.items(*sni, "route.sni"))
      if (auto pattern = r.parsed(*one, "route.sni", route::parse_pattern))
        out.sni.push_back(std::move(*pattern));
  } else if (!out.is_default) {
    r.fault(node.place, path, "\"sni\" is missing", "name a host, or write default = true");
    complete = false;
  }
  if (const Node* to = find(table, "to")) {
    const auto upstreams = r.items(*to, "route.to");
    if (upstreams.size() > kUpstreamsPerRouteMax)
      r.fault(to->place, "route.to", "more than 64 upstreams");
    for (const Node* one : upstreams)
      if (auto upstream = r.parsed(*one, "route.to", parse_upstream))
        out.to.push_back(std::move(*upstream));
  }
  if (const Node* to = find(table, "to_udp"))
    out.to_udp = r.parsed(*to, "route.to_udp", parse_upstream);
  if (!complete || r.errors.size() != faults) return std::nullopt;
  return out;
}

Node write_route(const RouteConfig& route) {
  NodeTable table;
  NodeList names, to;
  for (const std::string& name : route.sni) names.push_back({name, {}});
  for (const HostPort& upstream : route.to) to.push_back({upstream.text(), {}});
  if (!names.empty()) table.push_back({"sni", {}, {std::move(names), {}}});
  table.push_back({"to", {}, {std::move(to), {}}});
  if (route.to_udp) table.push_back({"to_udp", {}, {route.to_udp->text(), {}}});
  if (route.is_default) table.push_back({"default", {}, {true, {}}});
  return {std::move(table), {}};
}

// --- the rows ---

using RelayKey = Key<RelayConfig>;

Node write_string(const std::string& text) { return {text, {}}; }

RelayKey domain_key() {
  return list_key<RelayConfig>(
      {"", "domain", "NAME", "public name of the relay; agents get {id}.NAME", Shape::List},
      [](auto& c) -> auto& { return c.domains; },
      [](const Node& n, std::string_view path, Reading& r) {
        return r.parsed(n, path, route::parse_name);
      },
      write_string);
}

RelayKey own_name_key() {
  return list_key<RelayConfig>(
      {"", "own_name", "NAME", "further name of the relay itself, without agents below it",
       Shape::List, "the domains alone"},
      [](auto& c) -> auto& { return c.own_names; },
      [](const Node& n, std::string_view path, Reading& r) {
        return r.parsed(n, path, route::parse_name);
      },
      write_string);
}

void add_file_keys(std::vector<RelayKey>& keys) {
  keys.push_back(text_key<RelayConfig>(
      {"", "state_dir", "DIR", "where the relay keeps its state", Shape::Scalar, kStateDirFallback},
      [](auto& c) -> auto& { return c.state_dir; }));
  keys.push_back(text_key<RelayConfig>(
      {"", "certificate", "FILE",
       "PEM certificate chain of the relay's names", Shape::Scalar,
       "a self-signed one, for development"},
      [](auto& c) -> auto& { return c.certificate; }));
  keys.push_back(text_key<RelayConfig>({"", "key", "FILE", "PEM private key of the certificate"},
                                       [](auto& c) -> auto& { return c.key; }));
  keys.push_back(text_key<RelayConfig>(
      {"", "authorized_agents", "FILE",
       "the agents to serve, a line each", Shape::Scalar,
       "authorized_agents in the state directory"},
      [](auto& c) -> auto& { return c.authorized_agents; }));
  keys.push_back(text_key<RelayConfig>(
      {"", "admin", "PATH", "Unix socket for status and reload", Shape::Scalar,
       "admin.sock in the state directory"},
      [](auto& c) -> auto& { return c.admin; }));
}

void add_limit_keys(std::vector<RelayKey>& keys) {
  const auto number = [&](const char* name, const char* help, auto access, std::int64_t min,
                          std::int64_t max) {
    keys.push_back(number_key<RelayConfig>({"limits", name, "N", help}, access, min, max));
  };
  const auto milliseconds = [&](const char* name, const char* help, auto access,
                                std::int64_t min, std::int64_t max) {
    keys.push_back(duration_key<RelayConfig>({"limits", name, "MS", help}, access, min, max));
  };
  constexpr std::int64_t kDay = 24 * 3600 * 1000;
  // More than the far side's windows could not be under way.
  constexpr std::int64_t kRetainMin = 64 << 10;
  constexpr std::int64_t kStream = limits::kStreamWindowBytes;
  constexpr std::int64_t kSession = limits::kSessionRetainBytesMax;
  number("visitors_per_address", "connections of one source address at a time",
         [](auto& c) -> auto& { return c.limits.visitors_per_address; }, 1, 1'000'000);
  number("half_open", "visitors whose hello is not complete, per thread",
         [](auto& c) -> auto& { return c.limits.half_open; }, 1, 1'000'000);
  milliseconds("hello_deadline_ms", "from accept to a whole ClientHello",
               [](auto& c) -> auto& { return c.limits.hello_deadline; }, 100, 600'000);
  number("streams_per_link", "visitors of one agent's session at a time",
         [](auto& c) -> auto& { return c.limits.streams_per_link; }, 1,
         limits::kStreamsPerSessionMax);
  number("links_per_key", "links of one agent at a time",
         [](auto& c) -> auto& { return c.limits.links_per_key; }, 1, 64);
  number("retain_stream_bytes", "kept of one stream until the far side has it",
         [](auto& c) -> auto& { return c.limits.retain_stream_bytes; }, kRetainMin,
         kStream);
  number("retain_session_bytes", "kept of all streams of one session",
         [](auto& c) -> auto& { return c.limits.retain_session_bytes; }, kRetainMin,
         kSession);
  number("flows_per_agent", "visitors by UDP of one agent's session at a time",
         [](auto& c) -> auto& { return c.limits.flows_per_agent; }, 1,
         limits::kFlowsPerSessionMax);
  milliseconds("flow_idle_ms", "a visitor by UDP that is quiet for so long is gone",
               [](auto& c) -> auto& { return c.limits.flow_idle; }, 100,
               limits::kAgentFlowIdle / 1ms);
  milliseconds("resume_window_ms", "how long a session waits for a new link",
               [](auto& c) -> auto& { return c.limits.resume_window; }, 0, kDay);
  milliseconds("drain_ms", "how long visitors may finish after SIGTERM",
               [](auto& c) -> auto& { return c.limits.drain; }, 0, kDay);
  milliseconds("probe_ms", "how often it is probed whether each agent serves; 0: never",
               [](auto& c) -> auto& { return c.limits.probe; }, 0, kDay);
}

std::vector<RelayKey> make_keys() {
  std::vector<RelayKey> keys;
  keys.push_back(domain_key());
  keys.push_back(own_name_key());
  keys.push_back(list_key<RelayConfig>(
      {"", "listen", "ADDRESS[/tcp|/udp]", "port for TLS over TCP and QUIC over UDP", Shape::Items,
       ":443"},
      [](auto& c) -> auto& { return c.listen; }, read_listen, write_listen));
  keys.push_back(list_key<RelayConfig>(
      {"", "privileged_ports", "PORT[-PORT][/tcp|/udp]",
       "public ports to bind at the start, for agents that are granted them: those below 1024",
       Shape::List},
      [](auto& c) -> auto& { return c.privileged_ports; }, read_privileged, write_privileged));
  add_file_keys(keys);
  keys.push_back(list_key<RelayConfig>(
      {"", "proxy_from", "ADDRESS[/BITS]",
       "load balancers, whose connections begin with a PROXY header (v1 or v2)", Shape::List},
      [](auto& c) -> auto& { return c.proxy_from; },
      [](const Node& n, std::string_view path, Reading& r) {
        return r.parsed(n, path, IpPrefix::parse);
      },
      [](const IpPrefix& p) { return Node{p.text(), {}}; }));
  keys.push_back(metrics_key<RelayConfig>());
  keys.push_back(switch_key<RelayConfig>(
      {"", "open", "", "serve every agent, each under {id}.NAME, known or not"},
      [](auto& c) -> auto& { return c.open; }));
  keys.push_back(number_key<RelayConfig>({"", "threads", "N", "threads that serve; 0: one per CPU"},
                                         [](auto& c) -> auto& { return c.threads; }, 0, 1024));
  add_common_keys(keys);
  add_acme_keys(keys, "name of the relay to get a certificate for from an ACME server");
  add_limit_keys(keys);
  add_node_keys(keys);
  keys.push_back(list_key<RelayConfig>(
      {"", "route", "SNI[,SNI...]=HOST:PORT[,...]",
       "forward these names, still encrypted; * for hellos without SNI", Shape::Items},
      [](auto& c) -> auto& { return c.routes; }, read_route, write_route));
  return keys;
}

}  // namespace

const std::vector<Key<RelayConfig>>& keys_of(const RelayConfig*) {
  static const std::vector<Key<RelayConfig>> keys = make_keys();
  return keys;
}

void fill_defaults(RelayConfig& config, const Environment& environment) {
  if (config.state_dir.empty()) config.state_dir = default_state_dir(environment);
  if (config.state_dir.empty()) return;
  if (config.authorized_agents.empty())
    config.authorized_agents = config.state_dir + "/authorized_agents";
  if (config.admin.empty()) config.admin = config.state_dir + "/admin.sock";
}

namespace {

void check_privileged(const RelayConfig& config, Reading& r) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < config.privileged_ports.size(); ++i) {
    const PrivilegedPorts& a = config.privileged_ports[i];
    const Place place = r.place("privileged_ports[" + std::to_string(i) + "]");
    count += a.range.size();
    for (std::size_t k = 0; k < i; ++k) {
      const PrivilegedPorts& b = config.privileged_ports[k];
      if (a.range.first <= b.range.last && b.range.first <= a.range.last &&
          ((a.tcp && b.tcp) || (a.udp && b.udp)))
        r.fault(place, "privileged_ports", a.range.text() + " is there twice");
    }
    for (const ListenConfig& l : config.listen)
      if (a.range.contains(l.address.port) && ((a.tcp && l.tcp) || (a.udp && l.udp)))
        r.fault(place, "privileged_ports",
                "port " + std::to_string(l.address.port) + " is the relay's own");
  }
  if (count > limits::kPortsPerSessionMax)
    r.fault(r.place("privileged_ports[0]"), "privileged_ports",
            "more than " + std::to_string(limits::kPortsPerSessionMax) + " ports");
}

void check_listeners(const RelayConfig& config, Reading& r) {
  for (std::size_t i = 0; i < config.listen.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const ListenConfig &a = config.listen[i], &b = config.listen[k];
      if (a.address == b.address && ((a.tcp && b.tcp) || (a.udp && b.udp)))
        r.fault(r.place("listen[" + std::to_string(i) + "]"), "listen",
                a.address.text() + " is listened on twice");
    }
  }
}

void check_routes(const RelayConfig& config, Reading& r) {
  std::set<std::string> seen;
  bool has_default = false;
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    const RouteConfig& route = config.routes[i];
    const Place place = r.place("route[" + std::to_string(i) + "]");
    for (const std::string& name : route.sni) {
      if (!seen.insert(name).second)
        r.fault(place, "route.sni", "\"" + name + "\" is routed twice");
      if (std::find(config.domains.begin(), config.domains.end(), name) != config.domains.end())
        r.fault(place, "route.sni", "\"" + name + "\" is the relay's own name",
                "the relay answers it itself; take another");
    }
    if (route.is_default && has_default)
      r.fault(place, "route.default", "a second default route");
    has_default = has_default || route.is_default;
  }
}

// Whoever validates a name is sent to the relay only for names that it answers itself.
void check_relay_acme(const RelayConfig& config, Reading& r) {
  check_acme(config.acme, r);
  if (config.acme.domains.empty()) {
    if (config.acme != AcmeConfig{})
      r.missing("there is no name to get a certificate for", "give --acme-domain NAME");
    return;
  }
  const Place place = r.place("acme.domain");
  if (!config.certificate.empty())
    r.fault(place, "acme.domain", "there is a certificate in files already",
            "leave certificate and key out, or acme.domain");
  for (const std::string& name : config.acme.domains) {
    const std::string base = name.starts_with("*.") ? name.substr(2) : name;
    if (std::find(config.domains.begin(), config.domains.end(), base) == config.domains.end())
      r.fault(place, "acme.domain", "\"" + name + "\" is no name of the relay (domain)",
              "give --domain " + base + ", too");
  }
}

}  // namespace

void check_whole(const RelayConfig& config, Reading& r) {
  if (config.domains.empty() && !r.given("domain"))
    r.missing("the relay has no name",
            "give --domain NAME, ADIT_RELAY_DOMAIN, or domain = \"NAME\" in the file");
  if (config.state_dir.empty())
    r.missing("there is no state directory: HOME is not set", "give --state-dir DIR");
  if (r.given("certificate") != r.given("key")) {
    const bool lone_key = r.given("key");
    r.fault(r.place(lone_key ? "key" : "certificate"), lone_key ? "key" : "certificate",
            lone_key ? "it has no certificate" : "it has no key",
            lone_key ? "give the certificate, too" : "give the key, too");
  }
  const RelayLimits& limits = config.limits;
  if (limits.retain_session_bytes < limits.retain_stream_bytes)
    r.fault(r.place("limits.retain_session_bytes"), "limits.retain_session_bytes",
            std::to_string(limits.retain_session_bytes) + " is less than retain_stream_bytes (" +
                std::to_string(limits.retain_stream_bytes) + ")");
  check_listeners(config, r);
  check_privileged(config, r);
  check_routes(config, r);
  check_relay_acme(config, r);
}

}  // namespace adit::app
