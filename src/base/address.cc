#include "base/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace adit {

namespace {
constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Error bad_address(std::string_view text) {
  return Error{0, "\"" + std::string(text) + "\" is not HOST:PORT"};
}
}  // namespace

IpAddress IpAddress::v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  IpAddress out;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), out.bytes.begin());
  out.bytes[12] = a;
  out.bytes[13] = b;
  out.bytes[14] = c;
  out.bytes[15] = d;
  return out;
}

IpAddress IpAddress::loopback6() {
  IpAddress out;
  out.bytes[15] = 1;
  return out;
}

bool IpAddress::is_loopback() const {
  return is_v4() ? bytes[12] == 127 : *this == loopback6();
}

bool IpAddress::is_v4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  std::uint8_t quad[4];
  if (inet_pton(AF_INET, copy.c_str(), quad) == 1) return v4(quad[0], quad[1], quad[2], quad[3]);
  IpAddress out;
  if (inet_pton(AF_INET6, copy.c_str(), out.bytes.data()) == 1) return out;
  return Error{0, "\"" + copy + "\" is not an IP address"};
}

std::string IpAddress::text() const {
  char buffer[INET6_ADDRSTRLEN];
  const char* done = is_v4() ? inet_ntop(AF_INET, bytes.data() + 12, buffer, sizeof buffer)
                             : inet_ntop(AF_INET6, bytes.data(), buffer, sizeof buffer);
  return done == nullptr ? std::string() : std::string(done);
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  auto ip = IpAddress::parse(text.substr(0, slash));
  if (!ip) return std::move(ip).error();
  IpPrefix out{*ip, 128};
  if (slash != text.npos) {
    const std::string_view digits = text.substr(slash + 1);
    const unsigned most = ip->is_v4() ? 32 : 128;
    unsigned n = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), n);
    if (digits.empty() || read.ec != std::errc{} || read.ptr != digits.data() + digits.size() ||
        n > most)
      return Error{EINVAL, "\"" + std::string(text) + "\" is no range of addresses"};
    out.bits = 128 - most + n;
  }
  IpPrefix whole = out;
  whole.base = {};
  for (unsigned i = 0; i < out.bits; ++i)
    whole.base.bytes[i / 8] = static_cast<std::uint8_t>(
        whole.base.bytes[i / 8] | (out.base.bytes[i / 8] & (0x80u >> i % 8)));
  if (whole.base != out.base)
    return Error{EINVAL, "\"" + std::string(text) + "\" has bits behind its prefix; its range is " +
                             whole.text()};
  return out;
}

bool IpPrefix::contains(const IpAddress& ip) const {
  for (unsigned i = 0; i < bits; i += 8) {
    const unsigned left = std::min(8u, bits - i);
    const unsigned differ = ip.bytes[i / 8] ^ base.bytes[i / 8];
    if ((differ >> (8 - left)) != 0) return false;
  }
  return true;
}

std::string IpPrefix::text() const {
  return base.text() + "/" + std::to_string(base.is_v4() ? bits - 96 : bits);
}

Result<std::uint16_t> parse_port(std::string_view text) {
  unsigned value = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value == 0 || value > 65535)
    return Error{0, "\"" + std::string(text) + "\" is not a port (1 to 65535)"};
  return static_cast<std::uint16_t>(value);
}

Result<HostPort> HostPort::parse(std::string_view text, std::uint16_t default_port) {
  HostPort out;
  std::string_view port;
  const bool digits_only = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  if (digits_only) {
    out.host = "127.0.0.1";
    port = text;
  } else if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == text.npos) return bad_address(text);
    out.host = text.substr(1, close - 1);
    if (text.size() > close + 1 && text[close + 1] != ':') return bad_address(text);
    if (text.size() > close + 1) port = text.substr(close + 2);
  } else {
    const std::size_t colon = text.rfind(':');
    if (colon != text.npos && text.find(':') != colon) {
      return Error{0, "\"" + std::string(text) + "\": write an IPv6 address in brackets"};
    }
    out.host = text.substr(0, colon);
    if (colon != text.npos) port = text.substr(colon + 1);
    if (out.host.empty() && colon != text.npos) out.host = "127.0.0.1";
  }
  if (out.host.empty()) return bad_address(text);
  if (port.empty()) {
    if (default_port == 0) return Error{0, "\"" + std::string(text) + "\": the port is missing"};
    out.port = default_port;
    return out;
  }
  auto number = parse_port(port);
  if (!number) return std::move(number).error();
  out.port = *number;
  return out;
}

std::string HostPort::text() const {
  const std::string number = std::to_string(port);
  return host.find(':') == std::string::npos ? host + ":" + number : "[" + host + "]:" + number;
}

Result<Address> Address::parse(std::string_view text) {
  auto parts = HostPort::parse(text);
  if (!parts) return std::move(parts).error();
  const bool no_host = text.starts_with(':') || text.find_first_not_of("0123456789") == text.npos;
  if (no_host) return Address{IpAddress::any4(), parts->port};
  auto ip = IpAddress::parse(parts->host);
  if (!ip) return std::move(ip).error();
  return Address{*ip, parts->port};
}

std::string Address::text() const { return HostPort{ip.text(), port}.text(); }

std::size_t AddressHash::operator()(const IpAddress& a) const {
  std::uint64_t low, high;
  std::memcpy(&low, a.bytes.data(), 8);
  std::memcpy(&high, a.bytes.data() + 8, 8);
  return static_cast<std::size_t>((low ^ (high * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu);
}

std::size_t AddressHash::operator()(const Address& a) const {
  return (*this)(a.ip) ^ (std::size_t{a.port} * 0x9e3779b97f4a7c15u);
}

}  // namespace adit
