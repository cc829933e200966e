#include "io/sockaddr.h"

#include <algorithm>
#include <bit>

namespace adit::io {

in_addr to_in_addr(const IpAddress& ip) {
  std::array<std::uint8_t, 4> quad;
  std::copy_n(ip.bytes.begin() + 12, 4, quad.begin());
  return std::bit_cast<in_addr>(quad);
}

in6_addr to_in6_addr(const IpAddress& ip) { return std::bit_cast<in6_addr>(ip.bytes); }

IpAddress from_in_addr(const in_addr& a) {
  const auto quad = std::bit_cast<std::array<std::uint8_t, 4>>(a);
  return IpAddress::v4(quad[0], quad[1], quad[2], quad[3]);
}

IpAddress from_in6_addr(const in6_addr& a) {
  return IpAddress{std::bit_cast<std::array<std::uint8_t, 16>>(a)};
}

SockAddr::SockAddr(const Address& address) : v6{} {
  if (address.ip.is_v4()) {
    v4 = {};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    v4.sin_addr = to_in_addr(address.ip);
    size = sizeof(sockaddr_in);
    return;
  }
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  v6.sin6_addr = to_in6_addr(address.ip);
  size = sizeof(sockaddr_in6);
}

Address SockAddr::address() const {
  if (family() == AF_INET) return {from_in_addr(v4.sin_addr), ntohs(v4.sin_port)};
  if (family() == AF_INET6) return {from_in6_addr(v6.sin6_addr), ntohs(v6.sin6_port)};
  return {};
}

}  // namespace adit::io
