// adit/1 frames on the control channel, and the preamble of a data stream (architecture: Link
// protocol). Frame: type (QUIC varint), length (varint, at most 64 KiB), body. Unknown types are
// skipped, so that a newer peer may say more; an oversized or malformed frame ends the link.
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

enum class FrameType : std::uint64_t {
  Hello = 1,    // agent to relay, JSON (messages.h)
  Welcome = 2,  // relay to agent, JSON
  Refused = 3,  // relay to agent, JSON
  Services = 4,
  Ack = 5,      // varints, in pairs: stream number, bytes handed on (cumulative; FIN counts as one)
  Reset = 6,    // varints: stream number, code
  Goaway = 7,   // relay to agent, JSON
  Probe = 8,    // nonce of 8 bytes
  Probed = 9,
  // Agent to relay, JSON, as the only frame of a connection: it belongs to a link over TCP that is
  // there already.
  Join = 16,
  // Relay to agent, varint: the link has held up what the relay sends, at so many bytes a second.
  Strained = 17,
};

struct Frame {
  std::uint64_t type = 0;
  ByteVector body;
};

// Why a stream was reset; also the QUIC application error code of its RESET_STREAM.
enum class ResetCode : std::uint64_t {
  Cancelled = 0x10,       // the end behind it went away without order (RST)
  ServiceRefused = 0x11,  // the agent could not reach the local service
  UnknownService = 0x12,
  Overloaded = 0x13,      // a limit of the agent or the relay
  Protocol = 0x14,        // the peer broke adit/1
  Lost = 0x15,            // the session could not be resumed
  Idle = 0x16,
};
std::string_view text(ResetCode code);

// Application error codes with which a link is closed.
enum class CloseCode : std::uint64_t {
  Done = 0x0,
  Refused = 0x1,       // after a REFUSED frame
  Protocol = 0x2,      // malformed or unexpected frame; the reason says which
  Superseded = 0x3,    // a newer link of the same key took over
  Draining = 0x4,      // after GOAWAY
  Deadline = 0x5,      // HELLO or WELCOME did not come in time
  Overloaded = 0x6,
};

// Reads frames from the control channel, fed in any fragmentation.
class FrameReader {
 public:
  // Frames completed by `in`. An error ends the link (CloseCode::Protocol).
  Result<std::vector<Frame>> feed(Bytes in);

 private:
  ByteVector buffer_;
};

void write_frame(ByteVector& out, FrameType type, Bytes body);

struct AckEntry {
  StreamNumber stream;
  std::uint64_t handed = 0;
};
Result<std::vector<AckEntry>> parse_ack(Bytes body);
void write_ack(ByteVector& out, const std::vector<AckEntry>& entries);

struct ResetEntry {
  StreamNumber stream;
  ResetCode code = ResetCode::Cancelled;
};
Result<ResetEntry> parse_reset(Bytes body);
void write_reset(ByteVector& out, const ResetEntry& entry);

// Bytes a second.
Result<std::uint64_t> parse_strained(Bytes body);
void write_strained(ByteVector& out, std::uint64_t rate);

// Head of a data stream, from the relay: varint length, then varints stream number, service number,
// resume offset; visitor's and local address (16 bytes and port each), SNI (varint length and
// text), the visitor's id (8 bytes) and flags (1 byte; 1: a probe, 2: a challenge), which an older
// relay leaves out. Fields behind these are skipped.
struct Preamble {
  StreamNumber stream;
  ServiceNumber service;
  std::uint64_t resume_offset = 0;  // of the relay's direction
  Address visitor, local;
  std::string sni;
  std::uint64_t visit = 0;  // the visitor's id, for logs; 0: not said
  bool probe = false;       // the relay looks whether the agent answers
  bool challenge = false;  // the visitor offers ALPN acme-tls/1 alone (RFC 8737)
};
void write_preamble(ByteVector& out, const Preamble& p);
// Empty optional: more bytes are needed. `used`: bytes of `in` that the preamble took.
Result<std::optional<Preamble>> parse_preamble(Bytes in, std::size_t& used);

}  // namespace adit::link
