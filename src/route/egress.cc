#include "route/egress.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "route/access.h"
#include "route/name.h"

namespace adit::route {

namespace {

// Printable, and no longer than any host that is one.
std::string quoted(std::string_view text) {
  std::string shown = "\"";
  for (char c : text.substr(0, kNameBytesMax)) shown += c >= ' ' && c < 0x7f ? c : '?';
  return shown + "\"";
}

Error bad_host(std::string_view text, std::string_view why) {
  return Error{EINVAL, quoted(text) + " is no host: " + std::string(why)};
}

unsigned digit_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return 99;
}

bool begins_hex(std::string_view part) { return part.starts_with("0x") || part.starts_with("0X"); }

bool all_digits(std::string_view part, unsigned base) {
  return std::all_of(part.begin(), part.end(), [base](char c) { return digit_value(c) < base; });
}

// Whether a library may read the whole as an IPv4 address: its last part says (as in the URL
// standard's "ends in a number").
bool ends_in_number(std::string_view text) {
  const std::string_view last = text.substr(text.rfind('.') + 1);
  if (begins_hex(last)) return all_digits(last.substr(2), 16);
  return !last.empty() && all_digits(last, 10);
}

// A part of inet_aton(3)'s; nullopt also where 32 bits do not hold it.
std::optional<std::uint32_t> parse_part(std::string_view part) {
  unsigned base = 10;
  if (begins_hex(part)) {
    base = 16;
    part.remove_prefix(2);
  } else if (part.size() > 1 && part.front() == '0') {
    base = 8;
    part.remove_prefix(1);
  }
  if (part.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : part) {
    if (digit_value(c) >= base) return std::nullopt;
    value = value * base + digit_value(c);
    if (value > 0xffffffffu) return std::nullopt;
  }
  return static_cast<std::uint32_t>(value);
}

// One to four parts; the last one fills what the others leave.
std::optional<IpAddress> parse_numbers(std::string_view text) {
  std::uint32_t bits = 0;
  for (unsigned n = 1;; ++n) {
    const std::size_t dot = text.find('.');
    const auto part = parse_part(text.substr(0, dot));
    if (!part || n > 4) return std::nullopt;
    const bool last = dot == text.npos;
    const std::uint32_t most = last ? 0xffffffffu >> (8 * (n - 1)) : 0xffu;
    if (*part > most) return std::nullopt;
    bits |= last ? *part : *part << (32 - 8 * n);
    if (last) break;
    text.remove_prefix(dot + 1);
  }
  return IpAddress::v4(static_cast<std::uint8_t>(bits >> 24), static_cast<std::uint8_t>(bits >> 16),
                       static_cast<std::uint8_t>(bits >> 8), static_cast<std::uint8_t>(bits));
}

struct KnownRange {
  IpPrefix prefix;
  AddressUse use;
};

IpPrefix known_prefix(std::string_view text) {
  auto prefix = IpPrefix::parse(text);
  CHECK(prefix);
  return *prefix;
}

// The first that contains an address decides.
const std::vector<KnownRange>& known_ranges() {
  struct Row {
    const char* prefix;
    AddressUse use;
  };
  static constexpr Row kRows[] = {
      // Metadata services: common to several clouds, Amazon's containers, Alibaba, Oracle, Azure,
      // Amazon, Google.
      {"169.254.169.254", AddressUse::Metadata},
      {"169.254.170.2", AddressUse::Metadata},
      {"100.100.100.200", AddressUse::Metadata},
      {"192.0.0.192", AddressUse::Metadata},
      {"168.63.129.16", AddressUse::Metadata},
      {"fd00:ec2::254", AddressUse::Metadata},
      {"fd20:ce::254", AddressUse::Metadata},
      // IPv4: RFC 6890 and the registry that it began.
      {"0.0.0.0/8", AddressUse::Unspecified},
      {"10.0.0.0/8", AddressUse::Private},
      {"100.64.0.0/10", AddressUse::Shared},
      {"127.0.0.0/8", AddressUse::Loopback},
      {"169.254.0.0/16", AddressUse::LinkLocal},
      {"172.16.0.0/12", AddressUse::Private},
      {"192.0.0.0/24", AddressUse::Reserved},
      {"192.0.2.0/24", AddressUse::Documentation},
      {"192.88.99.0/24", AddressUse::Transition},
      {"192.168.0.0/16", AddressUse::Private},
      {"198.18.0.0/15", AddressUse::Benchmark},
      {"198.51.100.0/24", AddressUse::Documentation},
      {"203.0.113.0/24", AddressUse::Documentation},
      {"224.0.0.0/4", AddressUse::Multicast},
      {"255.255.255.255", AddressUse::Broadcast},
      {"240.0.0.0/4", AddressUse::Reserved},
      {"0.0.0.0/0", AddressUse::Ordinary},  // what is left of IPv4
      // IPv6: only 2000::/3 is given out, and NAT64's own prefix leads out of it (RFC 6052).
      {"::", AddressUse::Unspecified},
      {"::1", AddressUse::Loopback},
      {"::/96", AddressUse::Transition},
      {"64:ff9b::/96", AddressUse::Ordinary},
      {"64:ff9b:1::/48", AddressUse::Transition},
      {"2001::/32", AddressUse::Transition},
      {"2001:2::/48", AddressUse::Benchmark},
      {"2001:db8::/32", AddressUse::Documentation},
      {"2001::/23", AddressUse::Reserved},
      {"2002::/16", AddressUse::Transition},
      {"3fff::/20", AddressUse::Documentation},
      {"2000::/3", AddressUse::Ordinary},
      {"fc00::/7", AddressUse::Private},
      {"fe80::/10", AddressUse::LinkLocal},
      {"fec0::/10", AddressUse::Private},
      {"ff00::/8", AddressUse::Multicast},
  };
  static const std::vector<KnownRange> ranges = [] {
    std::vector<KnownRange> out;
    for (const Row& row : kRows) out.push_back({known_prefix(row.prefix), row.use});
    return out;
  }();
  return ranges;
}

IpAddress v4_at(const IpAddress& ip, std::size_t at, std::uint8_t flip = 0) {
  auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(ip.bytes[at + i] ^ flip); };
  return IpAddress::v4(byte(0), byte(1), byte(2), byte(3));
}

bool begins(const IpAddress& ip, std::size_t at, std::initializer_list<std::uint8_t> bytes) {
  return std::equal(bytes.begin(), bytes.end(), ip.bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

bool name_covers(std::string_view pattern, std::string_view name) {
  if (!is_wildcard(pattern)) return pattern == name;
  const std::string_view below = pattern.substr(1);  // with its dot
  return name.size() > below.size() && name.ends_with(below);
}

bool covers_host(const EgressRule& rule, const EgressHost& host) {
  if (rule.prefix) return false;
  return rule.name.empty() || (!host.name.empty() && name_covers(rule.name, host.name));
}

// "::/0" is all of IPv6, not IPv4 in its mapped form.
bool covers_ip(const EgressRule& rule, const std::optional<IpAddress>& ip) {
  return rule.prefix && ip && rule.prefix->base.is_v4() == ip->is_v4() &&
         rule.prefix->contains(*ip);
}

std::string place(const EgressHost& host, const Address& to) {
  return host.name.empty() ? to.text() : to.text() + " (" + host.name + ")";
}

}  // namespace

Result<EgressHost> parse_egress_host(std::string_view text) {
  if (text.empty()) return bad_host(text, "it is empty");
  if (text.size() > kNameBytesMax + 1) return bad_host(text, "over 253 bytes");
  if (text.starts_with('[') || text.find(':') != text.npos) {
    std::string_view inside = text;
    if (inside.starts_with('[')) {
      if (!inside.ends_with(']')) return bad_host(text, "its bracket is not closed");
      inside = inside.substr(1, inside.size() - 2);
    }
    // A zone would choose the interface, and a zero byte would end the text for the C library.
    if (inside.find_first_not_of("0123456789abcdefABCDEF:.") != inside.npos)
      return bad_host(text, "only an IPv6 address without zone and port has colons");
    auto ip = IpAddress::parse(inside);
    if (!ip || inside.find(':') == inside.npos) return bad_host(text, "it is no IPv6 address");
    return EgressHost{*ip, {}};
  }
  std::string_view numbers = text;
  if (numbers.ends_with('.')) numbers.remove_suffix(1);
  if (ends_in_number(numbers)) {
    const auto ip = parse_numbers(numbers);
    if (!ip) return bad_host(text, "it ends in a number and is no IPv4 address");
    return EgressHost{*ip, {}};
  }
  auto name = parse_name(text);
  if (!name) return bad_host(text, "neither an address nor a name in ASCII");
  return EgressHost{std::nullopt, std::move(*name)};
}

std::string_view name_of(AddressUse use) {
  switch (use) {
    case AddressUse::Ordinary: return "ordinary";
    case AddressUse::Unspecified: return "unspecified";
    case AddressUse::Loopback: return "loopback";
    case AddressUse::Private: return "private";
    case AddressUse::Shared: return "shared";
    case AddressUse::LinkLocal: return "link_local";
    case AddressUse::Metadata: return "metadata";
    case AddressUse::Multicast: return "multicast";
    case AddressUse::Broadcast: return "broadcast";
    case AddressUse::Documentation: return "documentation";
    case AddressUse::Benchmark: return "benchmark";
    case AddressUse::Transition: return "transition";
    case AddressUse::Reserved: return "reserved";
  }
  return "reserved";
}

AddressUse use_of(const IpAddress& ip) {
  for (const KnownRange& range : known_ranges())
    if (range.prefix.contains(ip)) return range.use;
  return AddressUse::Reserved;
}

std::optional<IpAddress> embedded_v4(const IpAddress& ip) {
  static const IpAddress loopback = known_prefix("::1").base;
  if (ip.is_v4() || ip == IpAddress::any6() || ip == loopback) return std::nullopt;
  if (begins(ip, 0, {0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return v4_at(ip, 12);
  if (begins(ip, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) return v4_at(ip, 12);
  if (begins(ip, 0, {0x20, 0x02})) return v4_at(ip, 2);                    // RFC 3056
  if (begins(ip, 0, {0x20, 0x01, 0, 0})) return v4_at(ip, 12, 0xff);       // RFC 4380 §4
  const bool isatap = begins(ip, 8, {0x00, 0x00, 0x5e, 0xfe}) ||           // RFC 5214 §6.1
                      begins(ip, 8, {0x02, 0x00, 0x5e, 0xfe});
  if (isatap) return v4_at(ip, 12);
  return std::nullopt;
}

std::string EgressRule::text() const {
  std::string host = prefix ? prefix->text() : name.empty() ? "*" : name;
  if (ports == PortRange{1, 65535}) return host;
  if (prefix && !prefix->base.is_v4()) host = "[" + host + "]";
  return host + ":" + ports.text();
}

Result<EgressRule> parse_egress_rule(std::string_view text) {
  const auto bad = [text](std::string_view why) {
    return Error{EINVAL, quoted(text) + " is no rule: " + std::string(why)};
  };
  EgressRule rule;
  if (auto prefix = IpPrefix::parse(text)) {
    rule.prefix = *prefix;
    return rule;
  }
  std::string_view host = text;
  const std::size_t colon = text.rfind(':');
  if (colon != text.npos && !text.ends_with(']')) {
    auto ports = parse_port_range(text.substr(colon + 1));
    if (!ports) return bad("its ports are not as in 443 or 8000-8100");
    rule.ports = *ports;
    host = text.substr(0, colon);
  }
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return bad("its bracket is not closed");
    auto prefix = IpPrefix::parse(host.substr(1, host.size() - 2));
    if (!prefix) return bad(prefix.error().what);
    rule.prefix = *prefix;
    return rule;
  }
  if (host == "*") return rule;
  if (host.find('/') != host.npos || ends_in_number(host)) {
    auto prefix = IpPrefix::parse(host);
    if (!prefix) return bad(prefix.error().what);
    rule.prefix = *prefix;
    return rule;
  }
  auto name = parse_pattern(host);
  if (!name) return bad("neither a range of addresses nor a name, *.NAME or *");
  rule.name = std::move(*name);
  return rule;
}

std::string_view code(const EgressRefusal& refusal) {
  switch (refusal.reason) {
    case EgressRefusal::Reason::Use: return name_of(refusal.use);
    case EgressRefusal::Reason::Own: return "own";
    case EgressRefusal::Reason::Denied: return "denied";
    case EgressRefusal::Reason::NotAllowed: return "not_allowed";
    case EgressRefusal::Reason::Port: return "port";
  }
  return "denied";
}

std::optional<EgressRefusal> EgressPolicy::check_name(const EgressHost& host,
                                                      std::uint16_t port) const {
  using Reason = EgressRefusal::Reason;
  if (port == 0) return EgressRefusal{Reason::Port, {}, host.text() + ": there is no port 0"};
  for (const EgressRule& rule : lists_.deny)
    if (rule.ports.contains(port) && covers_host(rule, host))
      return EgressRefusal{Reason::Denied, {},
                           HostPort{host.text(), port}.text() + " is denied by " + rule.text()};
  return std::nullopt;
}

bool EgressPolicy::own(const IpAddress& ip) const {
  return std::find(own_.addresses.begin(), own_.addresses.end(), ip) != own_.addresses.end();
}

// `ip`: what `to` is, or carries. Whether what is not ordinary is opened by a prefix.
std::optional<EgressRefusal> EgressPolicy::check_use(const IpAddress& ip, const Address& to) const {
  const AddressUse use = use_of(ip);
  const bool mine = own(ip);
  const bool here = mine || use == AddressUse::Loopback || use == AddressUse::Unspecified;
  const std::string carries = ip == to.ip ? std::string() : " carries " + ip.text() + ", which";
  if (here && std::find(own_.ports.begin(), own_.ports.end(), to.port) != own_.ports.end())
    return EgressRefusal{EgressRefusal::Reason::Own, use, carries + " is where the node listens"};
  if (use == AddressUse::Ordinary && !mine) return std::nullopt;
  for (const EgressRule& rule : lists_.allow)
    if (rule.ports.contains(to.port) && covers_ip(rule, ip)) return std::nullopt;
  if (mine) return EgressRefusal{EgressRefusal::Reason::Own, use, carries + " is the node's own"};
  return EgressRefusal{EgressRefusal::Reason::Use, use,
                       carries + " is " + std::string(name_of(use))};
}

std::optional<EgressRefusal> EgressPolicy::check(const EgressHost& host, const Address& to) const {
  if (auto refusal = check_name(host, to.port)) return refusal;
  const std::optional<IpAddress> inner = embedded_v4(to.ip);
  for (const EgressRule& rule : lists_.deny)
    if (rule.ports.contains(to.port) && (covers_ip(rule, to.ip) || covers_ip(rule, inner)))
      return EgressRefusal{EgressRefusal::Reason::Denied, {},
                           place(host, to) + " is denied by " + rule.text()};
  auto refusal = check_use(to.ip, to);
  if (!refusal && inner) refusal = check_use(*inner, to);
  if (refusal) {
    refusal->text.insert(0, place(host, to));
    return refusal;
  }
  if (!lists_.only_allowed) return std::nullopt;
  for (const EgressRule& rule : lists_.allow)
    if (rule.ports.contains(to.port) && (covers_host(rule, host) || covers_ip(rule, to.ip)))
      return std::nullopt;
  return EgressRefusal{EgressRefusal::Reason::NotAllowed, {},
                       place(host, to) + " is not in the list of what is allowed"};
}

EgressPolicy::Selection EgressPolicy::select(const EgressHost& host,
                                             const std::vector<Address>& found) const {
  Selection out;
  for (const Address& to : found) {
    auto refusal = check(host, to);
    if (!refusal) {
      out.allowed.push_back(to);
    } else if (!out.refusal) {
      out.refusal = std::move(refusal);
    }
  }
  if (!out.allowed.empty()) out.refusal.reset();
  return out;
}

}  // namespace adit::route
