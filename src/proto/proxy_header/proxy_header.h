// The PROXY protocol, versions 1 and 2 (its specification: HAProxy's proxy-protocol.txt, sections
// 2.1 and 2.2): a header in front of a connection that says who is at its far end. Read from load
// balancers that we trust, written to local services that ask for it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace adit {

// Whom a connection is from and what it was made to. TCP both times.
struct ProxiedConnection {
  Address source, destination;
};

// Both ends of one family: where they differ, IPv4 is written as mapped IPv6.
ByteVector proxy_header_v1(const ProxiedConnection& c);
ByteVector proxy_header_v2(const ProxiedConnection& c);
// Of a visitor by UDP, in front of the payload of every datagram: a receiver keeps nothing from one
// to the next, and one that was lost would take the only header with it.
ByteVector proxy_header_v2_udp(const ProxiedConnection& c);

// Reads one header from the beginning of a stream, in any fragmentation.
class ProxyHeaderReader {
 public:
  // Of version 1 it is the specification's bound (107), and of version 2 what leaves some room for
  // additions (TLVs); more is refused.
  static constexpr std::size_t kV1BytesMax = 107;
  static constexpr std::size_t kV2BytesMax = 2048;

  // True: the header is whole, and rest() what followed it. Errors (EPROTO) are final.
  Result<bool> feed(Bytes in);

  // After true. Nothing: the balancer speaks for itself (LOCAL, or UNKNOWN; a health check), or
  // about something that is no TCP connection; the socket's own addresses count then.
  const std::optional<ProxiedConnection>& connection() const { return connection_; }
  // Bytes behind the header; valid as long as the reader.
  Bytes rest() const { return Bytes(read_).subspan(header_bytes_); }

 private:
  Result<bool> read_v1();
  Result<bool> read_v2();

  ByteVector read_;
  std::size_t header_bytes_ = 0;
  std::optional<ProxiedConnection> connection_;
};

}  // namespace adit
