// Between our values and the library's structures.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>

#include <algorithm>

#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

// An IPv4-mapped address is handed over as IPv4: the library derives the amount of padding and the
// addresses in tokens from it.
ngtcp2_socklen set_address(ngtcp2_sockaddr_union& out, const Address& address) {
  out = {};
  const auto& b = address.ip.bytes;
  if (address.ip.is_v4()) {
    out.in.sin_family = AF_INET;
    out.in.sin_port = htons(address.port);
    out.in.sin_addr.s_addr = htonl((std::uint32_t{b[12]} << 24) | (std::uint32_t{b[13]} << 16) |
                                   (std::uint32_t{b[14]} << 8) | b[15]);
    return sizeof out.in;
  }
  out.in6.sin6_family = AF_INET6;
  out.in6.sin6_port = htons(address.port);
  std::copy(b.begin(), b.end(), out.in6.sin6_addr.s6_addr);
  return sizeof out.in6;
}

Address address_of(const ngtcp2_sockaddr_union& in) {
  Address out;
  if (in.sa.sa_family == AF_INET) {
    const std::uint32_t v4 = ntohl(in.in.sin_addr.s_addr);
    out.ip = IpAddress::v4(static_cast<std::uint8_t>(v4 >> 24), static_cast<std::uint8_t>(v4 >> 16),
                           static_cast<std::uint8_t>(v4 >> 8), static_cast<std::uint8_t>(v4));
    out.port = ntohs(in.in.sin_port);
    return out;
  }
  std::copy_n(in.in6.sin6_addr.s6_addr, out.ip.bytes.size(), out.ip.bytes.begin());
  out.port = ntohs(in.in6.sin6_port);
  return out;
}

}  // namespace

void NgtcpFree::operator()(ngtcp2_conn* conn) const { ngtcp2_conn_del(conn); }

void set_path(ngtcp2_path_storage& out, const Path& path) {
  ngtcp2_path_storage_zero(&out);
  out.path.local.addrlen = set_address(out.local_addrbuf, path.local);
  out.path.remote.addrlen = set_address(out.remote_addrbuf, path.peer);
}

Path path_of(const ngtcp2_path_storage& path) {
  return {address_of(path.local_addrbuf), address_of(path.remote_addrbuf)};
}

Path current_path(ngtcp2_conn* conn) {
  ngtcp2_path_storage copy;
  ngtcp2_path_storage_zero(&copy);
  ngtcp2_path_copy(&copy.path, ngtcp2_conn_get_path(conn));
  return path_of(copy);
}

Instant instant(std::uint64_t t) {
  return t > static_cast<std::uint64_t>(INT64_MAX) ? Instant::never()
                                                   : Instant{static_cast<std::int64_t>(t)};
}

ConnectionId connection_id(const ngtcp2_cid& id) { return ConnectionId::of({id.data, id.datalen}); }

void set_cid(ngtcp2_cid& out, Bytes id) {
  ngtcp2_cid_init(&out, id.data(), std::min<std::size_t>(id.size(), NGTCP2_MAX_CIDLEN));
}

}  // namespace adit::quic
