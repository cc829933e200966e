// What a relay and an agent are told: plain values, and the loaders that fill them. One TOML file;
// every key of it has a flag and an environment name (`limits.drain_ms`: --limits-drain-ms,
// ADIT_RELAY_LIMITS_DRAIN_MS). A flag goes before the environment, that before the file, that
// before the default; a list is replaced as a whole. Relative paths are relative to the working
// directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/node_service_config.h"
#include "base/address.h"
#include "base/limits.h"
#include "base/port_range.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"

namespace adit::app {

enum class IoBackend : std::uint8_t { Auto, Uring, Epoll };
enum class LogFormat : std::uint8_t { Text, Json };

struct LogConfig {
  LogFormat format = LogFormat::Text;
  LogLevel level = LogLevel::Info;
  bool operator==(const LogConfig&) const = default;
};

enum class AcmeChallengeWord : std::uint8_t { TlsAlpn, Http, Dns };

// [acme]: certificates from an ACME server.
struct AcmeConfig {
  std::vector<std::string> domains;  // canonical patterns
  std::string email;
  bool staging = false;
  unsigned renew_days = 0;           // 0: at a third of the lifetime
  std::string creds_path;            // empty: in the state directory
  std::string directory;             // empty: Let's Encrypt's
  std::string ca;                    // PEM file; empty: the system's
  std::string eab_kid, eab_key_file;
  AcmeChallengeWord challenge = AcmeChallengeWord::TlsAlpn;
  std::string dns_hook;
  std::optional<Address> http_listen;  // unset: port 80

  bool operator==(const AcmeConfig&) const = default;
};

// --- relay ---

// A port, with TLS over TCP, QUIC over UDP, or both; at least one.
struct ListenConfig {
  Address address;
  bool tcp = true;
  bool udp = true;
  bool operator==(const ListenConfig&) const = default;
};

// Public ports that only root may bind: bound at the start, for agents that are granted them.
struct PrivilegedPorts {
  PortRange range;
  bool tcp = true;
  bool udp = true;  // at least one
  bool operator==(const PrivilegedPorts&) const = default;
};

// [[route]]: names that are forwarded, still encrypted, to a TCP upstream.
struct RouteConfig {
  std::vector<std::string> sni;  // canonical patterns; may be empty when is_default
  std::vector<HostPort> to;      // at least one
  bool is_default = false;       // takes the hellos without SNI
  std::optional<HostPort> to_udp{};  // the upstream of the same names' QUIC
  bool operator==(const RouteConfig&) const = default;
};

// [limits]: what base/limits.h gives, where the operator may say otherwise.
struct RelayLimits {
  std::size_t visitors_per_address = limits::kVisitorsPerAddressMax;
  std::size_t half_open = limits::kHalfOpenVisitorsMax;
  Duration hello_deadline = limits::kHelloDeadline;
  std::size_t streams_per_link = limits::kStreamsPerSessionMax;
  std::size_t links_per_key = limits::kLinksPerKeyMax;
  std::size_t retain_stream_bytes = limits::kStreamRetainBytesMax;
  std::size_t retain_session_bytes = limits::kSessionRetainBytesMax;
  std::size_t flows_per_agent = limits::kFlowsPerSessionMax;
  Duration flow_idle = limits::kFlowIdle;
  Duration resume_window = limits::kSessionResumeWindow;
  Duration drain = limits::kDrainDeadline;
  Duration probe = std::chrono::seconds(10);  // between two looks at an agent; zero: none
  bool operator==(const RelayLimits&) const = default;
};

struct RelayConfig {
  std::vector<std::string> domains;  // canonical names of the relay; agents' names stand below them
  std::vector<std::string> own_names;  // further ones, with nothing below
  std::vector<ListenConfig> listen = {{Address{IpAddress::any6(), 443}}};
  std::vector<PrivilegedPorts> privileged_ports;
  std::string state_dir;
  std::string certificate, key;   // PEM files, both or none; none: a self-signed one
  std::string authorized_agents;  // file; like state_dir and admin empty only before loading
  // Load balancers, whose connections begin with a PROXY header
  std::vector<IpPrefix> proxy_from;
  bool open = false;
  unsigned threads = 0;           // 0: one per CPU
  IoBackend io_backend = IoBackend::Auto;
  bool sandbox = true;
  std::string user;               // to become once the ports are bound; empty: stay
  std::string admin;              // path of the admin socket
  std::optional<Address> metrics;
  LogConfig log;
  RelayLimits limits;
  AcmeConfig acme;                // wanted where it has domains
  std::vector<RouteConfig> routes;
  NodeServiceConfig node;         // on the relay's own name, where it is wanted
  bool operator==(const RelayConfig&) const = default;
};

// --- agent ---

struct RelayEndpoint {
  HostPort address;
  std::string name;  // the TLS name: canonical or an IP literal; the host of `address` unless given
  std::string pin;   // "sha256/BASE64" of the relay's key; empty: the certificate's chain decides
  bool operator==(const RelayEndpoint&) const = default;
};

enum class ServiceKind : std::uint8_t {
  Tls,  // names on the relay's port
  Tcp,  // a public port of the relay, or a range of them
  Udp,
  Http,  // names; TLS ends at the agent, and requests are forwarded one by one
};
enum class TlsMode : std::uint8_t {
  Terminate,    // the agent ends TLS; `to` gets plain bytes
  Passthrough,  // `to` ends TLS itself
};

// The PROXY protocol's header towards the local service.
enum class ProxyWord : std::uint8_t { None, V1, V2 };

struct ServiceConfig {
  ServiceKind kind = ServiceKind::Tls;
  TlsMode mode = TlsMode::Terminate;
  std::vector<std::string> names = {"{id}"};  // canonical patterns, labels, or "{id}"; Tls only
  HostPort to;
  std::string certificate, key;  // PEM files, both or none; Terminate only
  ProxyWord proxy = ProxyWord::None;
  // Public ports of the relay, of the other kinds: of a range the first leads to the port of `to`,
  // the next to the next.
  std::optional<PortRange> port{};
  std::uint32_t timeout = 120;  // seconds until the local service begins its response; Http only
  // Where visitors by QUIC (HTTP/3) of the names go, still encrypted; Tls only.
  std::optional<HostPort> to_udp{};
  bool transparent = false;  // the local service sees visitors' own addresses
  bool operator==(const ServiceConfig&) const = default;
};

enum class LinkCarriers : std::uint8_t { Auto, Quic, H2, Ws };

struct AgentConfig {
  std::string state_dir;
  std::string key;  // PKCS#8 PEM file of the agent's identity
  std::string extension_hex;  // bytes of one's own in the identity's certificate
  // A second identity beside the first, with one service; empty: none.
  std::string secondary_key, secondary_extension_hex;
  std::optional<HostPort> secondary_local;  // unset: what the first service forwards to
  std::vector<RelayEndpoint> relays;
  std::string roots;  // PEM file of CA certificates to trust; empty: the system's
  LinkCarriers carrier = LinkCarriers::Auto;
  bool force_h2 = false;
  std::size_t pool_size = limits::kLinkConnections;  // of a link over TCP
  std::string https_proxy;  // URL of the HTTP proxy for links over TCP; may hold a password
  std::string no_proxy;     // hosts that are reached without it
  std::string admin;  // path of the admin socket; like state_dir empty only before loading
  std::optional<Address> metrics;
  std::vector<ServiceConfig> services;
  // For services that end TLS here without a certificate of their own; wanted where anything in it
  // differs from the default.
  AcmeConfig acme;
  LogConfig log;
  IoBackend io_backend = IoBackend::Auto;
  bool sandbox = true;
  std::string user;  // to become after the start; empty: stay
  bool operator==(const AgentConfig&) const = default;
};

// --- loading ---

// One fault of a configuration. `source` is a file, a flag ("--threads") or an environment name;
// `line` and `column` (from 1, 0 where they make no sense) are the file's.
struct ConfigError {
  std::string source;
  std::size_t line = 0;
  std::size_t column = 0;
  std::string what;
  std::string hint;      // how to mend it; may be empty
  bool missing = false;  // something is not there at all; `source` is the file, if there is one

  std::string text() const;  // "relay.toml:3:1: what; hint"
  bool operator==(const ConfigError&) const = default;
};

// What the process inherits; a parameter so that tests give their own.
struct Environment {
  std::map<std::string, std::string, std::less<>> variables;
  bool root = false;  // effective user id 0

  static Environment of_process();
  const std::string* find(std::string_view name) const;  // null when unset or empty
};

struct ConfigSources {
  std::string file;  // path of the TOML file; empty: none
  // By key path ("limits.drain_ms"), as the command line gave them.
  std::map<std::string, std::vector<std::string>> flags;
};

template <class Config>
struct Loaded {
  Config config;
  std::vector<ConfigError> errors;    // all that there are, in the order of the sources
  std::vector<ConfigError> warnings;  // environment names that look like slips

  explicit operator bool() const { return errors.empty(); }
};

// Reads the file; SIGHUP does it again with the same arguments.
Loaded<RelayConfig> load_relay_config(const ConfigSources& sources, const Environment& environment);
Loaded<AgentConfig> load_agent_config(const ConfigSources& sources, const Environment& environment);

// The same with the file's text in hand; `sources.file` is only its name.
Loaded<RelayConfig> parse_relay_config(std::string_view text, const ConfigSources& sources,
                                       const Environment& environment);
Loaded<AgentConfig> parse_agent_config(std::string_view text, const ConfigSources& sources,
                                       const Environment& environment);

enum class ConfigKind : std::uint8_t { Relay, Agent };
// What a file of unknown kind is, by the keys it has; Relay when nothing tells.
ConfigKind guess_config_kind(std::string_view text);

// Where the system keeps things when nothing is configured: systemd's STATE_DIRECTORY,
// /var/lib/adit for root, else $XDG_STATE_HOME/adit or ~/.local/state/adit. Empty when there is no
// home.
std::string default_state_dir(const Environment& environment);

// TOML that loads to the same value. Changed: only the keys that differ from their defaults.
enum class PrintMode : std::uint8_t { Effective, Changed };
std::string print(const RelayConfig& config, PrintMode mode, const Environment& environment);
std::string print(const AgentConfig& config, PrintMode mode, const Environment& environment);

// The keys, for the command line and its help.
struct ConfigKeyInfo {
  std::string path;      // "limits.drain_ms"
  std::string flag;      // "--limits-drain-ms"
  std::string variable;  // "ADIT_RELAY_LIMITS_DRAIN_MS"
  std::string metavar;   // empty for a switch
  std::string help;
  std::string fallback;  // as the file would have it, or in words; empty: none
  bool is_switch = false;
  bool repeats = false;
};
std::vector<ConfigKeyInfo> relay_config_keys();
std::vector<ConfigKeyInfo> agent_config_keys();

// "sha256/" and the base64 of 32 bytes; returned with its padding.
Result<std::string> parse_pin(std::string_view text);

inline constexpr std::size_t kConfigFileBytesMax = std::size_t{1} << 20;

}  // namespace adit::app
