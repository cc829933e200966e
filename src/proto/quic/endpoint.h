// Sorts the datagrams of one UDP socket: which connection, a new one, or an answer without state
// (version negotiation, Retry, stateless reset). Pure; the owner holds the connections.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/time.h"
#include "proto/quic/connection.h"

namespace adit::quic {

struct ForConnection { Connection* connection; };
struct NewConnection {};                     // an Initial of version 1 that may be accepted
struct Answer { ByteVector datagram; };      // send it back; nothing is kept
struct OtherThread { std::uint8_t thread; }; // a short or long header with another thread's id
struct Ignore {};
using Verdict = std::variant<ForConnection, NewConnection, Answer, OtherThread, Ignore>;

class Endpoint {
 public:
  // `reset_secret` (32 bytes) makes stateless resets that survive a restart, and Retry tokens; the
  // same one goes into the Settings of the connections. `threads` in use.
  Endpoint(std::uint8_t thread, std::uint8_t threads, Bytes reset_secret);

  // An Initial whose id has our own length and names another thread belongs there, too: that thread
  // calls it a new connection if it is one. Stateless resets are rate limited by `now`.
  // `validate_addresses`: answer Initials without a valid token by Retry (RFC 9000 §8.1.2): set it
  // while many handshakes are open.
  Verdict sort(const Path& path, Bytes datagram, bool validate_addresses, Instant now);

  // Whether the datagram is for a connection of ours, by its id.
  bool knows(Bytes datagram) const;

  void add(Connection& c);       // takes its ids, now and
  void update(Connection& c);    // after each feed
  void remove(Connection& c);
  std::size_t size() const;

 private:
  Verdict negotiate_version(Bytes destination, Bytes source) const;
  Verdict sort_initial(const Path& path, Bytes datagram, bool validate_addresses,
                       Instant now) const;
  Verdict reset(Bytes destination, std::size_t received_bytes, Instant now);
  bool take_reset_token(Instant now);

  std::uint8_t thread_, threads_;
  ByteVector reset_secret_;
  std::unordered_map<ConnectionId, Connection*, ConnectionIdHash> ids_;
  std::unordered_map<Connection*, std::vector<ConnectionId>> of_;
  Instant resets_until_{INT64_MIN};  // the token bucket of stateless resets
};

}  // namespace adit::quic
