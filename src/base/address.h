// IP addresses and ports as values, without the operating system's structures.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace adit {

// IPv4 addresses are held in their mapped form (::ffff:a.b.c.d), so that one comparison serves
// both.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const IpAddress&) const = default;

  static IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d);
  static IpAddress any4() { return v4(0, 0, 0, 0); }
  static IpAddress any6() { return {}; }
  static IpAddress loopback4() { return v4(127, 0, 0, 1); }
  static IpAddress loopback6();
  // Dotted quad or RFC 4291 text, without brackets or zone.
  static Result<IpAddress> parse(std::string_view text);

  bool is_v4() const;
  bool is_loopback() const;  // 127.0.0.0/8 or ::1
  bool is_any() const { return *this == any4() || *this == any6(); }
  std::string text() const;
};

// A range of addresses, as in "10.0.0.0/8" or "2001:db8::/32".
struct IpPrefix {
  IpAddress base;
  unsigned bits = 128;  // of the mapped form: an IPv4 /8 is 104

  auto operator<=>(const IpPrefix&) const = default;

  // An address alone is a range of one. Bits behind the prefix must be zero.
  static Result<IpPrefix> parse(std::string_view text);
  bool contains(const IpAddress& ip) const;
  std::string text() const;
};

struct Address {
  IpAddress ip;
  std::uint16_t port = 0;

  auto operator<=>(const Address&) const = default;

  // "192.0.2.1:443", "[2001:db8::1]:443"; a port alone (":443", "443") means the IPv4 wildcard.
  static Result<Address> parse(std::string_view text);
  std::string text() const;
};

// A host (name or IP literal, brackets removed) and a port, as written in configuration.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;

  auto operator<=>(const HostPort&) const = default;

  // `default_port` 0: the port is mandatory. "3000" and ":3000" alone give host "127.0.0.1".
  static Result<HostPort> parse(std::string_view text, std::uint16_t default_port = 0);
  std::string text() const;
};

Result<std::uint16_t> parse_port(std::string_view text);

struct AddressHash {
  std::size_t operator()(const IpAddress& a) const;
  std::size_t operator()(const Address& a) const;
};

}  // namespace adit
