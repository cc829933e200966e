// The keys of an agent.

#include <map>

#include "app/config_acme.h"
#include "app/config_keys.h"
#include "app/http_proxy.h"
#include "base/limits.h"
#include "crypto/digest.h"
#include "crypto/identity_certificate.h"
#include "route/access.h"
#include "route/name.h"
#include "service/agent/visitor_ways.h"

namespace adit::app {

Result<std::string> parse_pin(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256/";
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const Error bad{0, "\"" + std::string(text.substr(0, 80)) +
                         "\" is not a pin: sha256/ and the base64 of 32 bytes"};
  if (!text.starts_with(kPrefix)) return bad;
  std::string_view digits = text.substr(kPrefix.size());
  if (digits.size() == 44 && digits.ends_with('=')) digits.remove_suffix(1);
  // 32 bytes are 42 digits and 4 bits: the last digit's two low bits are zero.
  if (digits.size() != 43 || digits.find_first_not_of(kDigits) != digits.npos) return bad;
  if (kDigits.find(digits.back()) % 4 != 0) return bad;
  return std::string(kPrefix) + std::string(digits) + "=";
}

namespace {

constexpr std::uint16_t kRelayPort = 443;
constexpr std::size_t kRelaysMax = 16;

Result<HostPort> parse_target(std::string_view text) { return HostPort::parse(text); }

Result<HostPort> parse_relay(std::string_view text) {
  if (text.find_first_not_of("0123456789") == text.npos)
    return Error{0, "\"" + std::string(text) + "\" is not a host"};
  auto address = HostPort::parse(text, kRelayPort);
  if (!address || IpAddress::parse(address->host)) return address;
  auto host = route::parse_name(address->host);
  if (!host) return std::move(host).error();
  return HostPort{std::move(*host), address->port};
}

// What a service asks for: its key's own name, a label, a name or a wildcard.
Result<std::string> parse_wanted(std::string_view text) {
  if (text == "{id}") return std::string(text);
  return route::parse_pattern(text);
}

// --- relay ---

std::optional<RelayEndpoint> read_relay(const Node& item, std::string_view path, Reading& r) {
  std::optional<Node> split;
  if (!std::holds_alternative<NodeTable>(item.value)) {
    split = split_item(item, path, "address", r);
    if (!split) return std::nullopt;
  }
  const Node& node = split ? *split : item;
  const auto& table = std::get<NodeTable>(node.value);
  const std::size_t faults = r.errors.size();
  if (!check_item(node, {"relay", {"address", "name", "pin"}, "address"}, r)) return std::nullopt;
  RelayEndpoint out;
  if (auto address = r.parsed(*find(table, "address"), "relay.address", parse_relay)) {
    out.address = std::move(*address);
    out.name = out.address.host;
  }
  if (const Node* name = find(table, "name"))
    out.name = r.parsed(*name, "relay.name", route::parse_name).value_or("");
  if (const Node* pin = find(table, "pin"))
    out.pin = r.parsed(*pin, "relay.pin", parse_pin).value_or("");
  if (r.errors.size() != faults) return std::nullopt;
  return out;
}

Node write_relay(const RelayEndpoint& relay) {
  NodeTable table;
  table.push_back({"address", {}, {relay.address.text(), {}}});
  if (relay.name != relay.address.host) table.push_back({"name", {}, {relay.name, {}}});
  if (!relay.pin.empty()) table.push_back({"pin", {}, {relay.pin, {}}});
  return {std::move(table), {}};
}

// --- service ---

const std::vector<std::string> kModeWords = {"terminate", "passthrough"};
const std::vector<std::string> kKindWords = {"tls", "tcp", "udp", "http"};
const std::vector<std::string> kProxyWords = {"none", "v1", "v2"};

void read_service_names(const Node& node, ServiceConfig& out, Reading& r) {
  const auto items = r.items(node, "service.name");
  if (items.size() > limits::kNamesPerServiceMax)
    r.fault(node.place, "service.name",
            "more than " + std::to_string(limits::kNamesPerServiceMax) + " names");
  out.names.clear();
  for (const Node* item : items)
    if (auto name = r.parsed(*item, "service.name", parse_wanted))
      out.names.push_back(std::move(*name));
}

void read_service_files(const Node& node, const NodeTable& table, ServiceConfig& out,
                        Reading& r) {
  const Node* certificate = find(table, "certificate");
  const Node* key = find(table, "key");
  if (certificate != nullptr)
    out.certificate = r.text(*certificate, "service.certificate").value_or("");
  if (key != nullptr) out.key = r.text(*key, "service.key").value_or("");
  if (out.mode == TlsMode::Passthrough && (certificate != nullptr || key != nullptr)) {
    r.fault((certificate != nullptr ? certificate : key)->place, "service",
            "in the mode passthrough the certificate is the local service's own",
            "leave certificate and key out, or write mode = \"terminate\"");
  } else if ((certificate == nullptr) != (key == nullptr)) {
    r.fault(node.place, "service", "certificate and key belong together", "give both or none");
  }
}

// "5000" or "5000-5010"; a number alone may be one.
std::optional<PortRange> read_ports(const Node& node, Reading& r) {
  if (std::holds_alternative<std::int64_t>(node.value)) {
    const auto port = r.number(node, "service.port", 1, UINT16_MAX);
    if (!port) return std::nullopt;
    return PortRange{static_cast<std::uint16_t>(*port), static_cast<std::uint16_t>(*port)};
  }
  return r.parsed(node, "service.port", route::parse_port_range);
}

bool has_names(ServiceKind kind) { return kind == ServiceKind::Tls || kind == ServiceKind::Http; }

// Requests of all visitors share the connections to the local service.
void check_http_service(const NodeTable& table, const ServiceConfig& service, Reading& r) {
  if (service.kind != ServiceKind::Http) {
    if (const Node* timeout = find(table, "timeout"))
      r.fault(timeout->place, "service.timeout", "only a service of kind \"http\" has a timeout",
              "leave it out, or write kind = \"http\"");
    return;
  }
  if (service.mode == TlsMode::Passthrough)
    r.fault(find(table, "mode")->place, "service.mode",
            "of a service of kind \"http\" TLS ends at the agent",
            "write kind = \"tls\" to pass it through");
  if (service.proxy != ProxyWord::None)
    r.fault(find(table, "proxy")->place, "service.proxy",
            "a service of kind \"http\" gets Forwarded and X-Forwarded-For instead",
            "leave it out, or write kind = \"tls\"");
  if (const Node* to = find(table, "to_udp"))
    r.fault(to->place, "service.to_udp", "a service of kind \"http\" has no to_udp",
            "write kind = \"tls\"");
  if (service.transparent)
    r.fault(find(table, "transparent")->place, "service.transparent",
            "connections to a service of kind \"http\" are not one visitor's",
            "leave it out, or write kind = \"tls\"");
}

// What has a port of its own has no name, and its bytes are not looked at.
void check_port_service(const Node& node, const NodeTable& table, const ServiceConfig& service,
                        Reading& r) {
  const std::string kind = kKindWords[static_cast<std::size_t>(service.kind)];
  if (has_names(service.kind)) {
    if (const Node* port = find(table, "port"))
      r.fault(port->place, "service.port",
              "a service of kind \"" + kind + "\" has a name, and no port",
              "write kind = \"tcp\"");
    return;
  }
  for (const char* key : {"name", "mode", "certificate", "key", "to_udp"})
    if (const Node* given = find(table, key))
      r.fault(given->place, "service." + std::string(key),
              "a service of kind \"" + kind + "\" has no " + key, "leave it out");
  if (service.kind == ServiceKind::Udp && service.proxy == ProxyWord::V1)
    r.fault(find(table, "proxy")->place, "service.proxy", "version 1 is for TCP only",
            "write proxy = \"v2\"");
  if (find(table, "port") == nullptr) {
    r.fault(node.place, "service", "a service of kind \"" + kind + "\" needs a port of the relay",
            "add port = 5000, or a range as in port = \"5000-5010\"");
  } else if (service.port && service.to.port + service.port->size() - 1 > UINT16_MAX) {
    r.fault(node.place, "service.port", "the range leads beyond port 65535 of the local service");
  } else if (service.port && service.port->size() > limits::kPortsPerSessionMax) {
    r.fault(node.place, "service.port",
            "more than " + std::to_string(limits::kPortsPerSessionMax) + " ports");
  }
}

// The rules for the answers are made before there is a visitor, so names are not looked up.
void read_transparent(const NodeTable& table, ServiceConfig& out, Reading& r) {
  const Node* transparent = find(table, "transparent");
  if (transparent == nullptr) return;
  out.transparent = r.boolean(*transparent, "service.transparent").value_or(false);
  if (!out.transparent) return;
  const auto check = [&](const HostPort& to, const char* key) {
    if (const Node* given = find(table, key); given != nullptr && !to.host.empty())
      if (auto ok = service::transparent_targets(to); !ok)
        r.fault(given->place, "service." + std::string(key), ok.error().what,
                "write the address; localhost is both 127.0.0.1 and ::1");
  };
  check(out.to, "to");
  if (out.to_udp) check(*out.to_udp, "to_udp");
}

std::optional<ServiceConfig> read_service(const Node& item, std::string_view path, Reading& r) {
  std::optional<Node> split;
  if (!std::holds_alternative<NodeTable>(item.value)) {
    split = split_item(item, path, "to", r);
    if (!split) return std::nullopt;
  }
  const Node& node = split ? *split : item;
  const auto& table = std::get<NodeTable>(node.value);
  const std::size_t faults = r.errors.size();
  const bool complete =
      check_item(node, {"service", {"kind", "mode", "name", "port", "to", "to_udp", "certificate",
                                    "key", "proxy", "transparent", "timeout"},
                        "to"}, r);
  ServiceConfig out;
  if (const Node* kind = find(table, "kind"))
    out.kind = static_cast<ServiceKind>(r.choice(*kind, "service.kind", kKindWords).value_or(0));
  if (!has_names(out.kind)) out.names.clear();
  if (const Node* timeout = find(table, "timeout"))
    out.timeout = static_cast<std::uint32_t>(
        r.number(*timeout, "service.timeout", 1, 3600).value_or(1));
  if (const Node* port = find(table, "port")) out.port = read_ports(*port, r);
  if (const Node* mode = find(table, "mode"))
    out.mode = static_cast<TlsMode>(r.choice(*mode, "service.mode", kModeWords).value_or(0));
  if (const Node* proxy = find(table, "proxy"))
    out.proxy = static_cast<ProxyWord>(r.choice(*proxy, "service.proxy", kProxyWords).value_or(0));
  if (const Node* name = find(table, "name")) read_service_names(*name, out, r);
  if (const Node* to = find(table, "to"))
    out.to = r.parsed(*to, "service.to", parse_target).value_or(HostPort{});
  if (const Node* to = find(table, "to_udp"))
    out.to_udp = r.parsed(*to, "service.to_udp", parse_target);
  read_transparent(table, out, r);
  read_service_files(node, table, out, r);
  check_port_service(node, table, out, r);
  check_http_service(table, out, r);
  if (!complete || r.errors.size() != faults) return std::nullopt;
  return out;
}

Node write_service(const ServiceConfig& service) {
  NodeTable table;
  NodeList names;
  for (const std::string& name : service.names) names.push_back({name, {}});
  table.push_back({"kind", {}, {kKindWords[static_cast<std::size_t>(service.kind)], {}}});
  if (service.kind == ServiceKind::Tls)
    table.push_back({"mode", {}, {kModeWords[static_cast<std::size_t>(service.mode)], {}}});
  if (service.kind == ServiceKind::Http)
    table.push_back({"timeout", {}, {std::int64_t{service.timeout}, {}}});
  if (has_names(service.kind)) {
    table.push_back({"name", {}, {std::move(names), {}}});
  }
  if (service.port) table.push_back({"port", {}, {service.port->text(), {}}});
  table.push_back({"to", {}, {service.to.text(), {}}});
  if (service.to_udp) table.push_back({"to_udp", {}, {service.to_udp->text(), {}}});
  if (!service.certificate.empty())
    table.push_back({"certificate", {}, {service.certificate, {}}});
  if (!service.key.empty()) table.push_back({"key", {}, {service.key, {}}});
  if (service.proxy != ProxyWord::None)
    table.push_back({"proxy", {}, {kProxyWords[static_cast<std::size_t>(service.proxy)], {}}});
  if (service.transparent) table.push_back({"transparent", {}, {true, {}}});
  return {std::move(table), {}};
}

// --- the rows ---

// Anybody on the machine can read a process's arguments.
Key<AgentConfig> proxy_key() {
  KeyName names{"", "https_proxy", "URL",
                "HTTP proxy to reach relays through, as http://HOST:PORT", Shape::Scalar,
                "HTTPS_PROXY of the environment"};
  return {names,
          [](AgentConfig& c, const Node& n, Reading& r) {
            const auto url = r.text(n, "https_proxy");
            if (!url) return;
            r.remember("https_proxy", n.place);
            if (n.place.source.starts_with("--") && url->find('@') != std::string::npos)
              return r.fault(n.place, "https_proxy", "a password does not belong on a command line",
                             "put it into the file, or HTTPS_PROXY");
            c.https_proxy = *url;
          },
          [](const AgentConfig& c) {
            return c.https_proxy.empty() ? Node{} : Node{without_password(c.https_proxy), {}};
          }};
}

void add_secondary_keys(std::vector<Key<AgentConfig>>& keys) {
  keys.push_back(text_key<AgentConfig>(
      {"", "primary_cert_extension_hex", "HEX", "bytes in the certificate that relays are shown"},
      [](auto& c) -> auto& { return c.extension_hex; }));
  keys.push_back(text_key<AgentConfig>(
      {"", "secondary_key", "FILE",
       "PEM private key of a second endpoint, under its own {id}; made on first use"},
      [](auto& c) -> auto& { return c.secondary_key; }));
  keys.push_back(Key<AgentConfig>{
      {"", "secondary_local", "HOST:PORT", "local service of the second endpoint", Shape::Scalar,
       "that of the first"},
      [](AgentConfig& c, const Node& n, Reading& r) {
        if (auto v = r.parsed(n, "secondary_local", parse_target)) c.secondary_local = *v;
      },
      [](const AgentConfig& c) {
        return c.secondary_local ? Node{c.secondary_local->text(), {}} : Node{};
      }});
  keys.push_back(text_key<AgentConfig>(
      {"", "secondary_cert_extension_hex", "HEX", "the same for the second endpoint"},
      [](auto& c) -> auto& { return c.secondary_extension_hex; }));
}

std::vector<Key<AgentConfig>> make_keys() {
  std::vector<Key<AgentConfig>> keys;
  keys.push_back(text_key<AgentConfig>(
      {"", "state_dir", "DIR", "where the agent keeps its state", Shape::Scalar, kStateDirFallback},
      [](auto& c) -> auto& { return c.state_dir; }));
  keys.push_back(text_key<AgentConfig>(
      {"", "key", "FILE",
       "PEM private key, the agent's identity; made on first use", Shape::Scalar,
       "agent.key in the state directory"},
      [](auto& c) -> auto& { return c.key; }));
  add_secondary_keys(keys);
  keys.push_back(text_key<AgentConfig>(
      {"", "roots", "FILE", "PEM file of the CAs that may vouch for relays", Shape::Scalar,
       "the system's"},
      [](auto& c) -> auto& { return c.roots; }));
  keys.push_back(choice_key<AgentConfig>(
      {"", "carrier", "KIND",
       "auto, quic, h2 or ws; auto takes QUIC where it works, else HTTP/2, else a WebSocket"},
      [](auto& c) -> auto& { return c.carrier; }, {"auto", "quic", "h2", "ws"}));
  keys.push_back(switch_key<AgentConfig>({"", "force_h2", "", "the same as carrier = \"h2\""},
                                         [](auto& c) -> auto& { return c.force_h2; }));
  keys.push_back(number_key<AgentConfig>(
      {"", "pool_size", "N", "TCP connections of a link that is not over QUIC"},
      [](auto& c) -> auto& { return c.pool_size; }, 1, limits::kLinkConnectionsMax));
  keys.push_back(proxy_key());
  keys.push_back(text_key<AgentConfig>(
      {"", "no_proxy", "HOSTS", "names and addresses that are reached without the proxy",
       Shape::Scalar, "NO_PROXY of the environment"},
      [](auto& c) -> auto& { return c.no_proxy; }));
  keys.push_back(text_key<AgentConfig>(
      {"", "admin", "PATH", "Unix socket for status", Shape::Scalar,
       "agent.sock in the state directory"},
      [](auto& c) -> auto& { return c.admin; }));
  keys.push_back(metrics_key<AgentConfig>());
  add_common_keys(keys);
  add_acme_keys(keys, "get certificates for these names only; without it for all that are granted");
  keys.push_back(list_key<AgentConfig>(
      {"", "relay", "HOST[:PORT][,name=NAME][,pin=PIN]", "relay to link to (port 443 by default)",
       Shape::Items},
      [](auto& c) -> auto& { return c.relays; }, read_relay, write_relay));
  keys.push_back(list_key<AgentConfig>(
      {"", "service", "HOST:PORT[,name=NAME][,mode=MODE]...",
       "local service to expose; also kind=http|tcp|udp, port=PORT[-PORT], certificate=FILE, "
       "key=FILE, proxy=v1|v2, timeout=SECONDS, transparent=true", Shape::Items},
      [](auto& c) -> auto& { return c.services; }, read_service, write_service));
  return keys;
}

}  // namespace

const std::vector<Key<AgentConfig>>& keys_of(const AgentConfig*) {
  static const std::vector<Key<AgentConfig>> keys = make_keys();
  return keys;
}

void fill_defaults(AgentConfig& config, const Environment& environment) {
  const auto inherit = [&environment](std::string& to, const char* name, const char* other) {
    const std::string* value = environment.find(name);
    if (value == nullptr) value = environment.find(other);
    if (to.empty() && value != nullptr) to = *value;
  };
  inherit(config.https_proxy, "https_proxy", "HTTPS_PROXY");
  inherit(config.no_proxy, "no_proxy", "NO_PROXY");
  if (config.state_dir.empty()) config.state_dir = default_state_dir(environment);
  if (config.state_dir.empty()) return;
  if (config.key.empty()) config.key = config.state_dir + "/agent.key";
  if (config.admin.empty()) config.admin = config.state_dir + "/agent.sock";
}

namespace {

void check_secondary(const AgentConfig& config, Reading& r) {
  const auto check_hex = [&r](const char* path, const std::string& hex) {
    auto bytes = crypto::hex_decode(hex);
    if (!bytes) {
      r.fault(r.place(path), path, "it is not hex");
    } else if (bytes->size() > crypto::kIdentityExtensionBytesMax) {
      r.fault(r.place(path), path, "more than 4096 bytes");
    }
  };
  check_hex("primary_cert_extension_hex", config.extension_hex);
  check_hex("secondary_cert_extension_hex", config.secondary_extension_hex);
  if (!config.secondary_key.empty()) {
    if (config.secondary_key == config.key)
      r.fault(r.place("secondary_key"), "secondary_key", "it is the key of the first endpoint");
    return;
  }
  for (const char* path : {"secondary_local", "secondary_cert_extension_hex"})
    if (r.given(path)) r.fault(r.place(path), path, "there is no second endpoint",
                               "give --secondary-key FILE");
}

}  // namespace

void check_whole(const AgentConfig& config, Reading& r) {
  if (config.relays.empty() && !r.given("relay"))
    r.missing("there is no relay",
            "give --relay HOST, ADIT_AGENT_RELAY, or a [[relay]] in the file");
  if (config.relays.size() > kRelaysMax)
    r.fault(r.place("relay[16]"), "relay", "more than 16 relays");
  if (config.services.empty() && !r.given("service"))
    r.missing("there is no service",
            "give --service HOST:PORT, ADIT_AGENT_SERVICE, or a [[service]] in the file");
  if (config.services.size() > limits::kServicesPerAgentMax)
    r.fault(r.place("service[" + std::to_string(limits::kServicesPerAgentMax) + "]"), "service",
            "more than " + std::to_string(limits::kServicesPerAgentMax) + " services");
  check_acme(config.acme, r);
  check_secondary(config, r);
  if (config.state_dir.empty())
    r.missing("there is no state directory: HOME is not set", "give --state-dir DIR");

  if (config.force_h2 && config.carrier != LinkCarriers::Auto && config.carrier != LinkCarriers::H2)
    r.fault(r.place("force_h2"), "force_h2", "force_h2 and another carrier exclude each other");
  if (!config.https_proxy.empty())
    if (auto proxy = parse_http_proxy(config.https_proxy); !proxy)
      r.fault(r.given("https_proxy") ? r.place("https_proxy") : Place{"HTTPS_PROXY"}, "https_proxy",
              proxy.error().what);

  for (std::size_t i = 0; i < config.relays.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (config.relays[i].address == config.relays[k].address)
        r.fault(r.place("relay[" + std::to_string(i) + "]"), "relay.address",
                config.relays[i].address.text() + " is linked to twice");
  std::map<std::string, std::size_t> owner;
  for (std::size_t i = 0; i < config.services.size(); ++i)
    for (const std::string& name : config.services[i].names)
      if (!owner.emplace(name, i).second)
        r.fault(r.place("service[" + std::to_string(i) + "]"), "service.name",
                "\"" + name + "\" is asked for twice",
                name == "{id}" ? "give each service a name of its own" : "");
  for (std::size_t i = 0; i < config.services.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) {
      const ServiceConfig &a = config.services[i], &b = config.services[k];
      if (a.kind == b.kind && a.port && b.port && a.port->first <= b.port->last &&
          b.port->first <= a.port->last)
        r.fault(r.place("service[" + std::to_string(i) + "]"), "service.port",
                a.port->text() + " is asked for twice");
    }
}

}  // namespace adit::app
