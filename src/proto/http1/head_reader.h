// The head of one HTTP/1.1 message (RFC 9112), fed in any fragmentation, for what changes protocol
// behind it: CONNECT and Upgrade.
#pragma once

#include "proto/http1/message_reader.h"

namespace adit::http1 {

class HeadReader {
 public:
  using Kind = MessageReader::Kind;
  enum class Verdict : std::uint8_t { More, Done, Malformed, TooLong };

  explicit HeadReader(Kind kind, std::size_t bytes_max = limits::kHttpHeadBytesMax)
      : reader_(kind, bytes_max) {}

  // Not to be called again after another verdict than More.
  Verdict feed(Bytes in);
  bool started() const { return reader_.started(); }

  // After Done.
  const Head& head() const { return reader_.head(); }
  // What was fed behind the head; points into the bytes last fed.
  Bytes rest() const { return rest_; }
  // After Malformed: what is wrong, for the peer.
  const std::string& fault() const { return reader_.fault(); }

 private:
  MessageReader reader_;
  Bytes rest_;
};

}  // namespace adit::http1
