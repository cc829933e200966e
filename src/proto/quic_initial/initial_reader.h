// Reads the ClientHello of a QUIC connection that is somebody else's, from the client's first
// datagrams, to see whom it is for. The hello may span several of them, come in any order, with its
// CRYPTO frames shuffled and split, and with other packets in the same datagram, as browsers with
// post-quantum key shares send it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/quic_initial/initial_keys.h"
#include "proto/tls_hello/client_hello.h"

namespace adit::quic_initial {

// The part of a long header that all versions share (RFC 8999 §5.1). Points into the datagram.
struct LongHeader {
  std::uint32_t version = 0;
  Bytes dcid, scid;
  bool initial = false;  // of a version that is read here
};
std::optional<LongHeader> parse_long_header(Bytes datagram);

class InitialReader {
 public:
  enum class Need { More, Done };

  // Of one client: all with the same source address and first DCID, from the first on. Packets that
  // are not authentic, or not Initial, are passed over. Errors (final): EPROTO where a first
  // datagram holds no Initial packet of the client's, or the frames or the hello are malformed;
  // EMSGSIZE where the hello is longer than kHelloBytesMax or is not whole within
  // kInitialDatagramsMax.
  Result<Need> feed(Bytes datagram);
  // After Done.
  const ClientHello& hello() const { return *hello_; }

 private:
  Status read_packets(Bytes datagram);
  Status read_frames(Bytes payload);
  Status take_crypto(std::uint64_t offset, Bytes data);
  Result<Need> look();

  std::optional<InitialKeys> keys_;
  ByteVector dcid_;
  std::uint32_t version_ = 0;
  std::size_t datagrams_ = 0;
  bool authentic_ = false;  // one packet was
  ByteVector crypto_;       // what has come of the stream, with holes
  std::vector<bool> here_;  // which bytes of it
  std::size_t whole_ = 0;   // bytes without a hole, from the start
  std::optional<ClientHello> hello_;
};

}  // namespace adit::quic_initial
