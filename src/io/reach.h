// Whether something answers over the network, for short-lived programs without a loop. Blocking;
// every call has its patience.
#pragma once

#include <cstddef>
#include <string>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "io/fd.h"

namespace adit::io {

class TcpConversation {
 public:
  // ETIMEDOUT: nothing answers; ECONNREFUSED: nothing listens there.
  static Result<TcpConversation> connect(const Address& to, Duration patience);

  Status send(Bytes bytes);
  // At least one byte; none: the peer has ended its direction.
  Result<ByteVector> receive(std::size_t bytes_max);

 private:
  TcpConversation(Fd fd, Instant deadline) : fd_(std::move(fd)), deadline_(deadline) {}

  Fd fd_;
  Instant deadline_;  // of the whole conversation
};

struct DatagramAnswer {
  ByteVector bytes;
  Duration took{};
};
// Sends `question` up to `tries` times, `patience` apart, until something comes back from there.
// ETIMEDOUT: nothing; ECONNREFUSED: nothing listens there.
Result<DatagramAnswer> ask_by_datagram(const Address& to, Bytes question, Duration patience,
                                       unsigned tries);

// The seconds since 1970 by this machine's clock.
std::int64_t clock_seconds();

}  // namespace adit::io
