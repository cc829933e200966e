// What the services of one thread ask of the other threads of the relay. Nothing is shared: every
// call becomes a message, also to the own thread, so an answer never comes from inside the
// question.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "proto/quic/connection_id.h"
#include "service/edge/edge.h"
#include "service/tunnel/relay_session.h"

namespace adit::service {

// All names of a session, claimed together: all or none.
// Why a claim that yields was refused; also the code that the agent gets.
inline constexpr std::string_view kSuperseded = "superseded";

struct ClaimRequest {
  std::uint32_t thread = 0;  // that holds the session
  std::uint64_t session = 0;
  std::string key_id;
  std::vector<GrantedName> names;
  bool yields = false;  // to sessions of the same key
};

struct ClaimAnswer {
  std::uint64_t session = 0;
  // Empty: all are ours. Else the name that is not, and why ("taken_by_other", "superseded",
  // "too_many").
  std::string refused_name, refused_code;
};

// A datagram that reached a thread which does not own its connection.
struct StrayDatagram {
  std::size_t port = 0;  // index of the UDP port it came to
  Address peer, local;
  std::uint8_t ecn = 0;
  std::uint16_t segment_bytes = 0;
  ByteVector bytes;
};

class Fabric {
 public:
  virtual std::uint32_t index() const = 0;
  virtual std::uint32_t count() const = 0;
  // Answered by Tunnel::on_claimed on the thread named in the request.
  virtual void claim(ClaimRequest request) = 0;
  virtual void release(const std::string& key_id, std::uint64_t session) = 0;
  virtual void hand_over(std::uint32_t thread, Visitor visitor, const std::string& pattern) = 0;
  // A TCP connection on which an agent opens a link.
  virtual void hand_over_link(std::uint32_t thread, Visitor agent) = 0;
  virtual void pass_on(std::uint32_t thread, StrayDatagram datagram) = 0;
  // Datagrams with this connection id, which come to the UDP port, are for this thread: told to the
  // others.
  virtual void share_id(std::size_t port, const quic::ConnectionId& id) = 0;

 protected:
  ~Fabric() = default;
};

}  // namespace adit::service
