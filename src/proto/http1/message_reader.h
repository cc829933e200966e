// One message of HTTP/1.1 after another (RFC 9112), fed in any fragmentation: a head, the runs of
// its body where they lie, its end. Parsed by llhttp in its strict mode, and beyond it: framing
// that two recipients could read differently is refused (RFC 9112 §11.2), trailers are dropped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/result.h"
#include "proto/http/fields.h"

namespace adit::http1 {

using http::Field;

struct Head {
  std::string method, target;  // of a request, as written
  int status = 0;              // of a response
  int minor_version = 1;       // of HTTP/1
  http::Fields fields;

  std::string_view field(std::string_view name) const { return http::field(fields, name); }
  bool lists(std::string_view name, std::string_view token) const {
    return http::lists(fields, name, token);
  }
  // Whether the sender lets the connection live on (RFC 9112 §9.3).
  bool keep_alive() const;
};

class MessageReader {
 public:
  enum class Kind : std::uint8_t { Request, Response };
  enum class Step : std::uint8_t {
    More,  // all was taken, and nothing came of it yet
    Head,  // head() is complete
    Body,  // body() is the next run
    End,   // the message is complete; next() begins another
    Malformed,
    // The head, or what lies between two runs of the body (the line of a chunk, trailers).
    TooLong,
  };

  explicit MessageReader(Kind kind, std::size_t head_bytes_max = limits::kHttpHeadBytesMax);
  ~MessageReader();
  MessageReader(const MessageReader&) = delete;
  MessageReader& operator=(const MessageReader&) = delete;

  // Reads from the front of `in` up to the next step; used() bytes are done with. To be called
  // again with what follows (which may be empty) until it says More; not after End, Malformed or
  // TooLong.
  Step read(Bytes in);
  std::size_t used() const { return used_; }
  // After Body: the last body().size() of the used bytes; never empty.
  Bytes body() const { return body_; }
  // The sender has ended the stream: End where the body ends there (RFC 9112 §6.3), else Malformed.
  Step end();
  // After End. What was not used of the last bytes belongs to the next message.
  void next();
  // Before the head is read: the response is to a HEAD request, so it has no body.
  void answers_head() { to_head_ = true; }

  bool started() const { return started_; }
  // After Head.
  const Head& head() const { return head_; }
  Head take_head() { return std::move(head_); }
  bool chunked() const { return chunked_; }
  // As the head says; none: it does not say, or is chunked.
  std::optional<std::uint64_t> length() const { return length_; }
  // Of a response: it lasts as long as the connection.
  bool until_close() const { return until_close_; }
  // After Malformed: what is wrong, for the peer; 501 where it is well-formed and unknown here
  // (RFC 9112 §6.1), else 400.
  const std::string& fault() const { return fault_; }
  int fault_status() const { return fault_status_; }

 private:
  struct Parser;
  friend struct Parser;
  Step fail(std::string_view why);
  bool check_head();
  bool check_framing();

  const Kind kind_;
  const std::size_t head_bytes_max_;
  std::unique_ptr<Parser> parser_;
  Head head_;
  Bytes body_;
  std::size_t used_ = 0, since_body_ = 0;
  std::optional<std::uint64_t> length_;
  bool started_ = false, head_done_ = false, to_head_ = false;
  bool chunked_ = false, until_close_ = false;
  std::string fault_;
  int fault_status_ = 400;
};

// Where the request goes (RFC 9112 §3.2, §3.3), out of its target and its Host. An error says what
// is wrong with them. `scheme`: of the connection, where the target has none.
Result<http::RequestHead> request_of(Head head, std::string_view scheme);

}  // namespace adit::http1
