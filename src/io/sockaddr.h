// Address to and from the kernel's structures. Private to this room.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

#include "base/address.h"

namespace adit::io {

// AF_INET for IPv4, AF_INET6 for the rest: Linux takes AF_INET addresses on dual-stack UDP sockets
// too.
struct SockAddr {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t size = sizeof(sockaddr_in6);

  // Room for the kernel to fill.
  SockAddr() : v6{} {}
  explicit SockAddr(const Address& address);

  int family() const { return any.sa_family; }
  // Any address for families that are not IP.
  Address address() const;
};

in_addr to_in_addr(const IpAddress& ip);
in6_addr to_in6_addr(const IpAddress& ip);
IpAddress from_in_addr(const in_addr& a);
IpAddress from_in6_addr(const in6_addr& a);

}  // namespace adit::io
