// Where a connection goes, from what its first bytes say before anything is decrypted: one pure
// function. The order of the rules is the order of src/README.md's picture:
//
//   ALPN acme-tls/1 -> ALPN adit-h2/1 or adit/1 -> the relay's names -> agents' names
//   -> static routes -> leases' names -> nothing matches
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "route/name.h"
#include "route/name_table.h"

namespace adit::route {

enum class Transport : std::uint8_t { Tcp, Udp };  // TLS over TCP; QUIC

// A public port in the NameTable, which keeps its owners as it does a name's: "tcp/5000". No host
// name has a slash.
std::string port_entry(Transport transport, std::uint16_t port);
inline bool is_port_entry(std::string_view pattern) { return pattern.find('/') != pattern.npos; }

inline constexpr std::string_view kAlpnAcme = "acme-tls/1";  // RFC 8737 §6.2
inline constexpr std::string_view kAlpnH2Link = "adit-h2/1";
inline constexpr std::string_view kAlpnQuicLink = "adit/1";
// An agent that resumes a session over HTTP/2 offers this and the number of the thread that has it,
// as it was told ("adit-thread/3"): the first byte of a connection id, for TCP.
inline constexpr std::string_view kAlpnThreadPrefix = "adit-thread/";

struct RouteQuery {
  Transport transport = Transport::Tcp;
  // No rule asks for the port or the source yet: a listener on another number sorts alike.
  std::uint16_t local_port = 0;
  std::optional<std::string_view> sni;  // as the hello has it, in any case; unset: none
  std::span<const std::string_view> alpn;
  IpAddress source;
};

// One [[route]]: bytes are forwarded, still encrypted, to a TCP upstream.
struct StaticRule {
  std::vector<std::string> patterns;  // canonical
  bool is_default = false;            // takes the hellos without SNI
  bool udp = false;                   // has an upstream for QUIC, too
};

// Static routes by name. Built once, from configuration that has been checked.
class StaticRoutes {
 public:
  // Errors: the same pattern in two rules, two defaults.
  static Result<StaticRoutes> build(const std::vector<StaticRule>& rules);

  // Index into the rules. A name's own rule goes before a wildcard's; since a star stands for one
  // label, one wildcard at most matches, and it is the longest.
  std::optional<std::size_t> find(std::string_view name) const;
  std::optional<std::size_t> default_route() const { return default_; }
  bool takes_udp(std::size_t index) const { return udp_[index]; }
  bool any_udp() const;

 private:
  NameMap<std::size_t> index_;
  std::optional<std::size_t> default_;
  std::vector<bool> udp_;  // by rule
};

// What a lease's name forwards to, after TLS has ended at the relay: 127.0.0.1 and this port.
struct LeaseTarget {
  std::uint16_t port = 0;
};

struct RouterTable {
  NameMap<std::monostate> relay_names;  // canonical names or wildcards of the relay itself
  NameTable agents;
  StaticRoutes routes;
  NameMap<LeaseTarget> leases;
};

// --- destinations ---

enum class ChallengeOwner : std::uint8_t { Relay, Agent };
// RFC 8737: answered by whoever holds the name's key. Relay: the relay's own names and leases'
// names.
struct AcmeChallenge {
  ChallengeOwner owner = ChallengeOwner::Relay;
  std::string name;  // the name asked for, canonical
  std::string key;   // Agent: the pattern in the NameTable

  bool operator==(const AcmeChallenge&) const = default;
};

enum class Carrier : std::uint8_t { H2, Quic };
struct Link {
  Carrier carrier = Carrier::H2;
  bool operator==(const Link&) const = default;
};

struct RelayHttps {
  std::string name;  // canonical
  bool operator==(const RelayHttps&) const = default;
};

struct AgentName {
  std::string name;  // the name asked for, canonical
  std::string key;   // the pattern in the NameTable that it fell to
  bool operator==(const AgentName&) const = default;
};

struct StaticRoute {
  std::size_t index = 0;
  bool operator==(const StaticRoute&) const = default;
};

struct LeaseName {
  std::string name;  // canonical
  std::uint16_t port = 0;
  bool operator==(const LeaseName&) const = default;
};

enum class NoMatchReason : std::uint8_t {
  UnknownName,
  NoSni,
  TcpOnly,  // the name is known, but QUIC cannot be forwarded to where it leads
};
struct NoMatch {
  NoMatchReason reason = NoMatchReason::UnknownName;
  bool operator==(const NoMatch&) const = default;
};

using Destination =
    std::variant<AcmeChallenge, Link, RelayHttps, AgentName, StaticRoute, LeaseName, NoMatch>;

// Total: every query has an answer, whatever a peer wrote into its hello.
Destination decide(const RouterTable& table, const RouteQuery& query);

// "unknown_name", ...: stable, for logs and metric labels.
std::string_view name(NoMatchReason reason);
std::string_view name(Carrier carrier);
// One line for `explain` and for tests: "agent name=a.example.com key=*.example.com".
std::string describe(const Destination& destination);

}  // namespace adit::route
