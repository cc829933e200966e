// One end of an HTTP/2 connection (RFC 9113) between relay and agent, as an engine without I/O:
// bytes and a time in, events and bytes out. The relay is the client although the agent has opened
// the TLS connection below, since it is the relay that opens streams; each is a POST that both ends
// use in both directions.
//
//   received bytes --> feed() --> take_events(), readable(), consume()
//   attach(), wake() --> drain() --> bytes to send
//
// Calls never call back but into the sources: peek() and ends_at() in drain(), acked() at its end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "proto/stream_source.h"

namespace adit::h2 {

using StreamId = std::int64_t;

struct Settings {
  std::size_t stream_window_bytes = std::size_t{1} << 20;
  std::size_t connection_window_bytes = std::size_t{16} << 20;
  std::uint32_t streams_max = 0;  // that the peer may open at a time (server)
  // A PING after so long without a sign of the peer, and the end after so long (timeout).
  Duration ping_after = 3s, dead_after = 8s;
};

struct StreamOpened { StreamId id; std::string path; };          // server: a request
struct StreamReadable { StreamId id; };                          // bytes or the end
struct StreamReset { StreamId id; std::uint64_t code; };         // by the peer, both directions
struct StreamClosed { StreamId id; };                            // both directions are over
// The last event. `application`: `code` is what close() was given at one of the ends; else an error
// code of RFC 9113 §7.
struct Closed {
  std::uint64_t code = 0;
  bool application = false;
  bool by_peer = false;
  bool timeout = false;
  std::string reason;
};
using Event = std::variant<StreamOpened, StreamReadable, StreamReset, StreamClosed, Closed>;

class Connection {
 public:
  enum class Role : std::uint8_t { Client, Server };
  // `authority`: of the requests (client).
  Connection(Role role, const Settings& settings, std::string_view authority, Instant now);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // --- in ---
  // Anything wrong with the bytes ends as a Closed event, and as a GOAWAY for the peer.
  void feed(Bytes bytes, Instant now);
  void on_deadline(Instant now);

  // --- out ---
  Instant next_deadline() const;  // never(): closed
  // What may be sent now, some `most` bytes at a time; valid until the next call. Empty: nothing.
  Bytes drain(std::size_t most, Instant now);
  std::vector<Event> take_events();

  // --- streams ---
  // Client. Errors: EAGAIN at the peer's limit, EOVERFLOW when ids are used up (RFC 9113 §5.1.1),
  // and only another connection helps.
  Result<StreamId> open_stream(std::string_view path);
  // Attaches what to send; must stay valid until detach or the end of the connection.
  void attach(StreamId id, StreamSource* source);
  // Forgets the source; the stream is reset where the source has not ended.
  void detach(StreamId id);
  void wake(StreamId id);  // the source has more to send
  Bytes readable(StreamId id) const;
  void consume(StreamId id, std::size_t n);  // frees them and gives the peer credit for as many
  bool at_end(StreamId id) const;            // all consumed, the end seen; never after a reset
  void reset(StreamId id, std::uint64_t code);

  // GOAWAY with an application code; drain() what it left. A Closed event follows.
  void close(std::uint64_t code, std::string_view reason);
  bool closed() const;
  Duration rtt() const;  // of the last PING; 0: none yet
  // Of the oldest PING that waits for any sign of the peer; never() when none does.
  Instant unanswered_since() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace adit::h2
