// Where somebody who holds a key may be connected to. Pure decisions: a host as it was written, and
// the addresses that its name turned out to have, against what is closed by default and the lists
// of the key.
//
//   parse_egress_host() -> check_name() -> the resolver, for a name -> select() -> connect to these
//
// What select() gave is what must be connected to: asking a name server again would let it answer
// something else (DNS rebinding).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/port_range.h"
#include "base/result.h"

namespace adit::route {

// A destination's host, read once: either is set.
struct EgressHost {
  std::optional<IpAddress> ip;
  std::string name;  // canonical (name.h)

  std::string text() const { return ip ? ip->text() : name; }
};

// Reads an address in every spelling that a system's library may take for one, so that none of them
// reaches a resolver as a name: dotted quads with decimal, octal and hexadecimal parts, one to four
// of them (inet_aton(3)), with a dot at the end, IPv6 with and without brackets. An error (EINVAL)
// for what is neither an address nor a host name: zones, ports, blanks, percent signs, characters
// beyond ASCII, and numbers that overflow.
Result<EgressHost> parse_egress_host(std::string_view text);

// What an address is for, as far as that decides. All but Ordinary are closed unless a prefix of
// the allow list opens them. The IANA special-purpose registries (RFC 6890) and RFC 4291 §2.4.
enum class AddressUse : std::uint8_t {
  Ordinary,
  Unspecified,    // 0.0.0.0/8, ::
  Loopback,       // 127.0.0.0/8, ::1
  Private,        // RFC 1918, RFC 4193, site-local
  Shared,         // 100.64.0.0/10, RFC 6598
  LinkLocal,      // 169.254.0.0/16, fe80::/10
  Metadata,       // where clouds tell a machine its secrets
  Multicast,
  Broadcast,
  Documentation,
  Benchmark,
  Transition,     // 6to4, Teredo, IPv4-compatible, local NAT64: nothing that is reached on purpose
  Reserved,
};
std::string_view name_of(AddressUse use);  // "loopback"

// What `ip` is for itself; an IPv4 address inside another is not looked at.
AddressUse use_of(const IpAddress& ip);
// The IPv4 address that packets to `ip` may end up at: of NAT64, 6to4, Teredo, ISATAP and
// IPv4-compatible addresses.
std::optional<IpAddress> embedded_v4(const IpAddress& ip);

// "10.0.0.0/8", "2001:db8::/32", "example.com", "*.example.com" (all names below it, at any depth),
// "*"; each alone or with ports behind a colon, as in "*:25", "example.com:8000-8100",
// "[2001:db8::/32]:443".
struct EgressRule {
  std::optional<IpPrefix> prefix;
  std::string name;  // canonical, or a wildcard; empty for a prefix and for "*"
  PortRange ports{1, 65535};

  bool operator==(const EgressRule&) const = default;
  std::string text() const;
};
Result<EgressRule> parse_egress_rule(std::string_view text);

struct EgressLists {
  std::vector<EgressRule> deny;   // wins over all else
  // A prefix opens what is closed by default. A name does not: who runs its name server chooses the
  // address.
  std::vector<EgressRule> allow;
  bool only_allowed = false;      // what `allow` does not cover, by name or address, is closed
};

// What belongs to the node itself.
struct OwnPlaces {
  std::vector<IpAddress> addresses;    // of its interfaces, and what the world sees it as
  std::vector<std::uint16_t> ports;    // where it listens: never reached at an address of its own
};

struct EgressRefusal {
  enum class Reason : std::uint8_t { Use, Own, Denied, NotAllowed, Port };
  Reason reason = Reason::Use;
  AddressUse use = AddressUse::Ordinary;  // of Reason::Use
  std::string text;                       // for logs; it names the destination
};
std::string_view code(const EgressRefusal& refusal);  // "loopback", "own", "denied", ...: a label

class EgressPolicy {
 public:
  EgressPolicy(EgressLists lists, OwnPlaces own) : lists_(std::move(lists)), own_(std::move(own)) {}

  // Before a look-up, which a refused name is not worth. Not enough to connect.
  std::optional<EgressRefusal> check_name(const EgressHost& host, std::uint16_t port) const;
  // `to`: what would be connected to, whose host was written as `host`. nullopt: it may be.
  std::optional<EgressRefusal> check(const EgressHost& host, const Address& to) const;

  struct Selection {
    std::vector<Address> allowed;           // in the order given
    std::optional<EgressRefusal> refusal;   // why there is none
  };
  Selection select(const EgressHost& host, const std::vector<Address>& found) const;

 private:
  bool own(const IpAddress& ip) const;
  std::optional<EgressRefusal> check_use(const IpAddress& ip, const Address& to) const;

  EgressLists lists_;
  OwnPlaces own_;
};

}  // namespace adit::route
