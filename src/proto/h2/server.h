// The server's end of an HTTP/2 connection with ordinary requests (RFC 9113), as an engine without
// I/O. (connection.h is the link between relay and agent, whose streams are pipes.)
//
//   received bytes --> feed() --> take_events(), readable(), consume()
//   respond(), write(), finish() --> drain() --> bytes to send
//
// Calls never call back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "proto/http/fields.h"

namespace adit::h2 {

using StreamId = std::int64_t;

struct ServerSettings {
  std::size_t stream_window_bytes = limits::kHttpStreamWindowBytes;
  std::size_t connection_window_bytes = limits::kHttpConnectionWindowBytes;
  std::uint32_t streams_max = limits::kHttpStreamsMax;
  std::size_t head_bytes_max = limits::kHttpHeadBytesMax;
  std::size_t send_bytes = limits::kHttpSendBytes;  // of a stream, that are not drained
};

struct RequestCame {
  StreamId id;
  http::RequestHead head;
  bool too_long;  // the head is over its bound, and not whole
};
struct RequestBody { StreamId id; };  // bytes, or the end
struct ResponseRoom { StreamId id; };  // after a write that was cut short
struct RequestReset { StreamId id; };  // by the client, or by the engine for what it did wrong
struct ServerOver { std::string why; };  // the last event; drain() what is left
using ServerEvent = std::variant<RequestCame, RequestBody, ResponseRoom, RequestReset, ServerOver>;

class Server {
 public:
  explicit Server(const ServerSettings& settings);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void feed(Bytes bytes);
  // What may be sent now, some `most` bytes at a time; valid until the next call. Empty: nothing.
  Bytes drain(std::size_t most);
  std::vector<ServerEvent> take_events();
  // drain() brings some about: room that it has made.
  bool has_events() const;

  // --- a request; all of these do nothing for one that is over ---
  Bytes readable(StreamId id) const;
  void consume(StreamId id, std::size_t n);  // frees them and gives the client credit
  bool at_end(StreamId id) const;            // all consumed, and the end seen
  // Several with a status below 200, then one; `ends`: no body follows.
  void respond(StreamId id, const http::ResponseHead& head, bool ends);
  // Bytes taken; fewer than given: a ResponseRoom follows.
  std::size_t write(StreamId id, Bytes bytes);
  void finish(StreamId id);
  // Forgets the request: cut where its response has not been finished; what is finished goes out,
  // and a client that is still sending is told to stop (RFC 9113 §8.1).
  void release(StreamId id);

  // Finished and released, but not yet out: the client gives no credit, or we do not send. `sent`
  // grows as long as it moves.
  struct Left {
    StreamId id;
    std::uint64_t sent;  // bytes of the body
  };
  std::vector<Left> left() const;
  // Resets one of those.
  void cut(StreamId id);
  // Streams reset for what the client did wrong in them, since the last call.
  std::size_t take_provoked();

  // No more requests; those under way go on. `code` of RFC 9113 §7; with any but NO_ERROR nothing
  // goes on, and ServerOver follows.
  void go_away(std::uint32_t code);
  std::size_t open() const;  // streams that are not over on the wire
  bool over() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace adit::h2
