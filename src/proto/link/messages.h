// The JSON bodies of adit/1 control frames. Parsing is strict about types and bounds and lenient
// about unknown members, so that either side may be newer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/port_range.h"
#include "base/result.h"

namespace adit::link {

inline constexpr unsigned kProtocolVersion = 1;

// In the list of a resumption. The relay has kStreamsPerSessionMax at most; the agent forgets a
// stream up to a round trip later than the relay, which may have opened others since.
inline constexpr std::size_t kOffsetsMax = 2 * limits::kStreamsPerSessionMax;

// What one side has handed on of a stream (FIN counts as one): where the other side goes on from.
struct StreamOffset {
  StreamNumber stream;
  std::uint64_t handed = 0;
};

struct ServiceWanted {
  ServiceNumber number;
  std::string kind;                 // "tls"; "tcp" and "udp" have ports and no names
  // Of "tls"; empty: the key's own name under each domain of the relay
  std::vector<std::string> names;
  std::optional<PortRange> ports{};  // public ports of the relay
  bool quic = false;                 // "tls": visitors by QUIC are wanted, too, as flows
};

struct ResumeRequest {
  std::string session;
  // HMAC-SHA256(secret, exporter of this link), see resume_proof()
  ByteVector proof;
  // Stream numbers the agent has ever seen: all below seen_next but `unseen` (SeenNumbers). A
  // stream that the relay still has, the agent has seen and does not list is over at the agent.
  std::uint64_t seen_next = 1;
  std::vector<std::uint64_t> unseen;
  std::vector<StreamOffset> streams;
};

struct Hello {
  unsigned version = kProtocolVersion;
  std::string software;
  std::vector<ServiceWanted> services;
  // Asked by an agent that was superseded: refused ("superseded") while another session of the same
  // key has one of the names, so that two agents with one key do not fight for ever.
  bool yields = false;
  std::optional<ResumeRequest> resume;
};

struct ServiceGranted {
  ServiceNumber number;
  std::vector<std::string> names;
  std::optional<PortRange> ports{};
};

struct Welcome {
  std::string software;
  std::string session;
  ByteVector secret;               // 32 bytes; empty when resumed: the one given before stays
  bool resumed = false;
  std::uint16_t public_port = 443;  // of the names granted, for the URL
  // First byte for the connection id of a link that resumes this session
  std::uint8_t affinity = 0;
  std::uint64_t resume_window_ms = 0;
  std::vector<ServiceGranted> services;
  std::uint64_t next_stream = 1;   // streams below it that are not listed are over at the relay
  std::vector<StreamOffset> streams;
};

struct Refused {
  std::string code;                // stable: "unknown_key", "name_not_granted", "name_taken",
                                   // "port_taken", …
  std::string text;
  std::uint64_t retry_after_ms = 0;
  bool again = false;              // whether trying again can help without a person's doing
};

struct Goaway {
  std::uint64_t deadline_ms = 0;
};

struct Join {
  std::string session;
  // As of a resumption, over the exports by kJoinLabel of this connection and of the link's first:
  // one that arrives when the session is elsewhere belongs to nothing.
  ByteVector proof;
};

ByteVector to_json(const Hello& m);
ByteVector to_json(const Welcome& m);
ByteVector to_json(const Refused& m);
ByteVector to_json(const Goaway& m);
ByteVector to_json(const Join& m);
Result<Hello> parse_hello(Bytes body);
Result<Welcome> parse_welcome(Bytes body);
Result<Refused> parse_refused(Bytes body);
Result<Goaway> parse_goaway(Bytes body);
Result<Join> parse_join(Bytes body);

// Label of the TLS exporter (RFC 8446 §7.5) whose value a resumption proof covers: a proof is worth
// nothing on another connection.
inline constexpr std::string_view kResumeLabel = "EXPORTER-adit-resume";
inline constexpr std::string_view kJoinLabel = "EXPORTER-adit-join";
inline constexpr std::size_t kResumeExportBytes = 32;
inline constexpr std::size_t kResumeSecretBytes = 32;

}  // namespace adit::link
