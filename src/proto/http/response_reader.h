// Reads one response of HTTP/1.1 as a client, fed in any fragmentation. Strict and bounded: what
// the RFC leaves to the recipient's mercy is an error, since the only peers are a few APIs. No
// library that the build pins, or that the distribution maintains as C source, has such a parser.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/http/message.h"

namespace adit::http {

class ResponseReader {
 public:
  enum class Need : std::uint8_t { More, Done };

  // `to_head`: the request was HEAD, so no body follows whatever the fields say.
  explicit ResponseReader(bool to_head) : to_head_(to_head) {}

  // An error is final. Bytes behind the response are ignored: there is one request a connection.
  Result<Need> feed(Bytes in);
  // The peer ended the stream in order; where the body ends there (RFC 9112 §6.3) it is Done.
  Result<Need> end();

  // After Done.
  const Response& response() const { return response_; }
  Response take() { return std::move(response_); }

 private:
  enum class State : std::uint8_t {
    StatusLine,
    Fields,
    Body,       // left_ bytes
    ToEnd,      // until the stream ends
    ChunkSize,
    Chunk,      // left_ bytes
    ChunkEnd,   // the empty line behind a chunk
    Trailers,
    Done,
  };
  Status on_line(std::string_view line);
  Status on_status_line(std::string_view line);
  Status on_field(std::string_view line);
  Status on_head();
  Status on_chunk_size(std::string_view line);
  bool in_lines() const;

  const bool to_head_;
  State state_ = State::StatusLine;
  Response response_;
  std::string line_;
  std::size_t head_bytes_ = 0;
  std::uint64_t left_ = 0;
};

}  // namespace adit::http
