// Reads one TLS ClientHello from the beginning of a TCP stream, fed in any fragmentation, and keeps
// every byte for whoever answers it.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"
#include "proto/tls_hello/client_hello.h"
#include "proto/tls_hello/hello_state.h"

namespace adit {

// The verdict depends on the bytes alone, never on how they were cut: each byte is looked at once
// as it comes, and the message is parsed once, when its last byte is there. Idle, a reader is its
// own size (below) and no allocation; later it holds what the peer has sent, in a vector that
// doubles.
class HelloReader {
 public:
  enum class Need { More, Done };

  // `in` is copied. Need::Done at the last byte of the hello, even if its record goes on: what
  // follows belongs to the visitor, and is kept with the rest. The hello must be whole within the
  // first limits::kHelloBytesMax bytes, record headers counted, or the fault is TooLarge; it comes
  // with the last of those bytes, not before. After Done or an Error, feed() may not be called.
  Result<Need> feed(Bytes in);

  // After Done only. Lives as long as the reader, take() or not.
  const ClientHello& hello() const;

  // All bytes fed so far, those behind the hello included: at most limits::kHelloBytesMax - 1 and
  // the last feed. Valid until the next feed() or take().
  Bytes consumed() const { return read_; }

  // The same, moved out; after Done or an Error only. consumed() is empty from then on.
  ByteVector take();

  HelloState state() const { return state_; }

 private:
  Status step(std::size_t end);
  Status start(std::uint8_t byte);
  Status text();
  Status record_header(std::uint8_t byte);
  Status message_header(std::uint8_t byte);
  Status message_body(std::size_t end);
  Status finish();
  Bytes message(ByteVector& joined) const;
  void move(HelloEvent event);

  ByteVector read_;
  std::unique_ptr<const ClientHello> hello_;
  std::uint32_t at_ = 0;              // of read_, the bytes looked at
  std::uint32_t message_length_ = 0;  // without its header; as far as known
  std::uint32_t message_seen_ = 0;    // with its header
  std::uint16_t record_left_ = 0;     // of the fragment; as far as known
  std::uint8_t record_header_seen_ = 0;
  HelloState state_ = HelloState::Start;
};

static_assert(sizeof(HelloReader) <= 64, "a half-open visitor that sent nothing must cost little");

}  // namespace adit
