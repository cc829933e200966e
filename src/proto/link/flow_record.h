// What is said of flows (visitors by UDP) on a link. A datagram of a flow goes as a QUIC DATAGRAM
// (RFC 9221: varint flow number, payload) where the carrier has them and it fits; everything else
// goes as records on one stream, the flow stream, which the relay opens like a data stream but with
// an empty preamble (one zero byte):
//
//   record: varint length, then varint kind, varint flow number, and by kind
//     DATA    payload
//     OPEN    varint service number, visitor's and local address (16 bytes and port each), SNI
//             (varint length and text), payload; relay to agent
//     OPENED  nothing; agent to relay
//     GONE    nothing; either way
//
// The relay sends OPEN with the first datagram, and what follows as DATA on the stream until OPENED
// has come: nothing of a flow overtakes what tells where it goes. An agent that does not know a
// flow (any more) says GONE, and the next datagram is an OPEN again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"

namespace adit::link {

// One visitor's UDP association inside a session. Numbered from 1 by the relay, never used again.
using FlowNumber = Id<struct FlowTag>;

struct FlowOpen {
  ServiceNumber service;
  Address visitor, local;
  std::string sni;
  bool operator==(const FlowOpen&) const = default;
};

struct FlowRecord {
  enum class Kind : std::uint64_t { Data = 0, Open = 1, Opened = 2, Gone = 3 };
  Kind kind = Kind::Data;
  FlowNumber flow;
  FlowOpen open;       // Open only
  ByteVector payload;  // Data, Open
  bool operator==(const FlowRecord&) const = default;
};

void write_flow_record(ByteVector& out, const FlowRecord& record);

// Reads the flow stream, in any fragmentation.
class FlowRecordReader {
 public:
  // Records completed by `in`, but those of kinds that a newer peer may know. An error (a length
  // beyond kFlowRecordBytesMax, a record cut short) is final.
  Result<std::vector<FlowRecord>> feed(Bytes in);

 private:
  ByteVector buffer_;
};

// The payload of a QUIC DATAGRAM.
void write_flow_datagram(ByteVector& out, FlowNumber flow, Bytes payload);
Result<FlowRecord> parse_flow_datagram(Bytes in);
// Bytes in front of the payload.
std::size_t flow_datagram_overhead(FlowNumber flow);

}  // namespace adit::link
