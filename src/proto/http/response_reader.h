// Reads one whole response of HTTP/1.1 as a client, fed in any fragmentation. Strict and bounded:
// what the RFC leaves to the recipient's mercy is an error, since the only peers are a few APIs.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/http/message.h"
#include "proto/http1/message_reader.h"

namespace adit::http {

class ResponseReader {
 public:
  enum class Need : std::uint8_t { More, Done };

  // `to_head`: the request was HEAD, so no body follows whatever the fields say.
  explicit ResponseReader(bool to_head);

  // An error is final. Bytes behind the response are ignored: there is one request a connection.
  Result<Need> feed(Bytes in);
  // The peer ended the stream in order; where the body ends there (RFC 9112 §6.3) it is Done.
  Result<Need> end();

  // After Done.
  const Response& response() const { return response_; }
  Response take() { return std::move(response_); }

 private:
  Status on_head();

  const bool to_head_;
  bool done_ = false;
  http1::MessageReader reader_;
  Response response_;
};

}  // namespace adit::http
