// Which keys a relay serves, and what each may have: the file `authorized_agents` and the
// decisions made from it. Pure: the text comes in, whoever reads the file is elsewhere.
//
// A line a key; `#` starts a comment:
//
//   ID [names=a,b.example.com,*.c.example.com] [ports=2222,8000-8100] [rate=10M] [streams=64]
//      [flows=256] [from=10.0.0.0/8,2001:db8::/32] [not=10.6.6.6]
//
//   names    host names, or single labels that stand below each of the relay's domains
//   ports    TCP and UDP ports of the relay that the agent may ask for
//   rate     bytes a second in each direction; K, M and G are 10^3, 10^6 and 10^9
//   streams  visitors at a time in one session
//   flows    visitors by UDP at a time
//   from     addresses of visitors that are let in, and no others; without it all are
//   not      addresses of visitors that are turned away, whatever from says
//
// A key that is listed always has `{id}.DOMAIN` below each of the relay's domains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/limits.h"
#include "base/port_range.h"
#include "base/result.h"
#include "route/name.h"

namespace adit::route {

// base32 (a-z, 2-7) of 130 bits of a key's digest.
inline constexpr std::size_t kKeyIdBytes = 26;
bool is_key_id(std::string_view text);

using adit::PortRange;

struct AgentGrant {
  std::string id;
  std::vector<std::string> names;  // canonical patterns; one without a dot is a label (see above)
  std::vector<PortRange> ports;
  std::optional<std::size_t> streams_max;
  std::optional<std::uint64_t> rate;  // bytes a second
  std::vector<IpPrefix> from{}, not_from{};  // of visitors; an empty `from` is everybody
  std::optional<std::size_t> flows_max{};

  bool admits(const IpAddress& visitor) const;
  bool operator==(const AgentGrant&) const = default;
};

// One fault of the file, for people.
struct LineError {
  std::size_t line = 0;    // from 1
  std::size_t column = 0;  // from 1, in bytes
  std::string what;

  std::string text() const;  // "3:14: what"
  bool operator==(const LineError&) const = default;
};

struct AuthorizedAgents {
  std::vector<AgentGrant> agents;  // in the order of the file, without the lines that have faults
  std::vector<LineError> errors;   // all, up to kErrorsMax
};

inline constexpr std::size_t kErrorsMax = 100;
inline constexpr std::size_t kAgentsMax = 100'000;
inline constexpr std::size_t kGrantedNamesMax =
    limits::kServicesPerAgentMax * limits::kNamesPerServiceMax;
inline constexpr std::size_t kGrantedPortRangesMax = 64;
inline constexpr std::size_t kGrantedPrefixesMax = 256;

AuthorizedAgents parse_authorized_agents(std::string_view text);
// The line of the file for a grant; parses back to an equal one.
std::string format(const AgentGrant& grant);

// "10M" and the like, as in rate=.
Result<std::uint64_t> parse_rate(std::string_view text);
// "2222" or "8000-8100".
Result<PortRange> parse_port_range(std::string_view text);

// Why an agent does not get what it asked for. The code is part of the link protocol: stable.
enum class Refusal : std::uint8_t {
  UnknownKey,
  NameInvalid,
  NameNotGranted,
  NameReserved,  // the relay's own
  PortNotGranted,
};
std::string_view code(Refusal refusal);  // "unknown_key", ...

class AgentAccess {
 public:
  // `domains`: canonical, at least one. `open`: every key is admitted, to `{id}.DOMAIN`; what the
  // file grants counts on top.
  AgentAccess(std::vector<std::string> domains, bool open, std::vector<AgentGrant> agents);

  // nullopt: the key is admitted.
  std::optional<Refusal> check(std::string_view key_id) const;

  struct Names {
    std::optional<Refusal> refusal;  // unset: granted
    std::vector<std::string> names;  // canonical patterns to claim; of a label one per domain
  };
  // What a service asks for: "{id}" (the key's own name), a label, a host name or a wildcard. A
  // granted wildcard covers itself and the names that it matches.
  Names resolve(std::string_view key_id, std::string_view wanted) const;

  std::optional<Refusal> check_port(std::string_view key_id, std::uint16_t port) const;

  // What the file says of the key; null for one that only --open admits, and for an unknown one.
  const AgentGrant* grant(std::string_view key_id) const;
  std::vector<std::string> own_names(std::string_view key_id) const;  // {id}.DOMAIN for each

  bool open() const { return open_; }
  std::size_t size() const { return agents_.size(); }

 private:
  bool granted(const AgentGrant* grant, std::string_view pattern) const;

  std::vector<std::string> domains_;
  bool open_;
  NameMap<AgentGrant> agents_;  // by id
};

}  // namespace adit::route
