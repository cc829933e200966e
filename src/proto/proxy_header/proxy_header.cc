#include "proto/proxy_header/proxy_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>

namespace adit {

namespace {

constexpr std::array<std::uint8_t, 12> kSignature = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                                     0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr std::size_t kV2Fixed = 16;
constexpr std::uint8_t kVersion2 = 0x20, kProxy = 0x1;
constexpr std::uint8_t kTcp4 = 0x11, kTcp6 = 0x21, kUdp4 = 0x12, kUdp6 = 0x22;
constexpr std::string_view kV1Start = "PROXY";

Error bad(std::string what) { return Error{EPROTO, "PROXY header: " + std::move(what)}; }

std::string_view text_of(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// "::ffff:192.0.2.1" where an IPv4 address stands among IPv6.
std::string text_of(const IpAddress& ip, bool as_v6) {
  return as_v6 && ip.is_v4() ? "::ffff:" + ip.text() : ip.text();
}

void append_address(ByteVector& out, const IpAddress& ip, bool v4) {
  out.insert(out.end(), ip.bytes.begin() + (v4 ? 12 : 0), ip.bytes.end());
}

void append_port(ByteVector& out, std::uint16_t port) {
  out.push_back(static_cast<std::uint8_t>(port >> 8));
  out.push_back(static_cast<std::uint8_t>(port));
}

bool both_v4(const ProxiedConnection& c) {
  return c.source.ip.is_v4() && c.destination.ip.is_v4();
}

}  // namespace

ByteVector proxy_header_v1(const ProxiedConnection& c) {
  const bool v4 = both_v4(c);
  const std::string line = fmt::format(
      "PROXY {} {} {} {} {}\r\n", v4 ? "TCP4" : "TCP6", text_of(c.source.ip, !v4),
      text_of(c.destination.ip, !v4), c.source.port, c.destination.port);
  const Bytes bytes = as_bytes(line);
  return {bytes.begin(), bytes.end()};
}

namespace {

ByteVector header_v2(const ProxiedConnection& c, std::uint8_t of_v4, std::uint8_t of_v6) {
  const bool v4 = both_v4(c);
  ByteVector out(kSignature.begin(), kSignature.end());
  out.push_back(kVersion2 | kProxy);
  out.push_back(v4 ? of_v4 : of_v6);
  append_port(out, v4 ? 12 : 36);  // the length, in the same form
  append_address(out, c.source.ip, v4);
  append_address(out, c.destination.ip, v4);
  append_port(out, c.source.port);
  append_port(out, c.destination.port);
  return out;
}

}  // namespace

ByteVector proxy_header_v2(const ProxiedConnection& c) { return header_v2(c, kTcp4, kTcp6); }
ByteVector proxy_header_v2_udp(const ProxiedConnection& c) { return header_v2(c, kUdp4, kUdp6); }

Result<bool> ProxyHeaderReader::feed(Bytes in) {
  CHECK(header_bytes_ == 0);
  read_.insert(read_.end(), in.begin(), in.end());
  const std::size_t looked = std::min(read_.size(), kSignature.size());
  if (std::equal(read_.begin(), read_.begin() + static_cast<std::ptrdiff_t>(looked),
                 kSignature.begin()))
    return looked < kSignature.size() ? Result<bool>(false) : read_v2();
  if (text_of(read_).substr(0, kV1Start.size()) == kV1Start.substr(0, read_.size()))
    return read_v1();
  return bad("the balancer sent none");
}

Result<bool> ProxyHeaderReader::read_v1() {
  const std::string_view text = text_of(read_);
  const std::size_t end = text.substr(0, kV1BytesMax).find("\r\n");
  if (end == text.npos) {
    if (text.size() >= kV1BytesMax) return bad("version 1 does not end after 107 bytes");
    return false;
  }
  std::vector<std::string_view> words;
  for (std::string_view rest = text.substr(0, end);;) {
    const std::size_t space = rest.find(' ');
    words.push_back(rest.substr(0, space));
    if (space == rest.npos) break;
    rest.remove_prefix(space + 1);
  }
  header_bytes_ = end + 2;
  // Whatever stands behind UNKNOWN is to be ignored.
  if (words.size() >= 2 && words[0] == kV1Start && words[1] == "UNKNOWN") return true;
  const bool v4 = words.size() > 1 && words[1] == "TCP4";
  if (words.size() != 6 || words[0] != kV1Start || !(v4 || words[1] == "TCP6"))
    return bad("not \"PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT\"");
  ProxiedConnection c;
  for (const auto& [address, ip, port] : {std::tuple(&c.source, words[2], words[4]),
                                          std::tuple(&c.destination, words[3], words[5])}) {
    auto parsed = IpAddress::parse(ip);
    // "0" is a port here, as it is in the other form.
    auto number = port == "0" ? Result<std::uint16_t>(std::uint16_t{0}) : parse_port(port);
    if (!parsed || !number || (ip.find(':') == ip.npos) != v4) return bad("not an address");
    *address = Address{*parsed, *number};
  }
  connection_ = c;
  return true;
}

Result<bool> ProxyHeaderReader::read_v2() {
  if (read_.size() < kV2Fixed) return false;
  const std::uint8_t command = read_[12] & 0x0f;
  if ((read_[12] & 0xf0) != kVersion2 || command > kProxy) return bad("unknown version or command");
  const std::uint8_t family = read_[13];
  const std::size_t length = std::size_t{read_[14]} << 8 | read_[15];
  if (kV2Fixed + length > kV2BytesMax) return bad("version 2 of more than 2048 bytes");
  const bool v4 = family == kTcp4, v6 = family == kTcp6;
  const std::size_t ip_bytes = v4 ? 4 : 16;
  const bool named = command == kProxy && (v4 || v6);
  if (named && length < 2 * ip_bytes + 4) return bad("version 2 too short for its addresses");
  if (read_.size() < kV2Fixed + length) return false;
  header_bytes_ = kV2Fixed + length;
  if (!named) return true;
  const auto address = [&](std::size_t ip_at, std::size_t port_at) {
    Address out;
    if (v4) {
      out.ip = IpAddress::v4(read_[ip_at], read_[ip_at + 1], read_[ip_at + 2], read_[ip_at + 3]);
    } else {
      std::copy_n(read_.begin() + static_cast<std::ptrdiff_t>(ip_at), 16, out.ip.bytes.begin());
    }
    out.port = static_cast<std::uint16_t>(read_[port_at] << 8 | read_[port_at + 1]);
    return out;
  };
  connection_ = ProxiedConnection{
      address(kV2Fixed, kV2Fixed + 2 * ip_bytes),
      address(kV2Fixed + ip_bytes, kV2Fixed + 2 * ip_bytes + 2)};
  return true;
}

}  // namespace adit
