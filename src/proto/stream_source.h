// What a stream of a carrier (QUIC, HTTP/2) sends, by the offset of its bytes there. The engine
// never keeps a copy: the bytes stay with their owner, at the same address, until acked() has
// covered them or the connection is gone.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace adit {

class StreamSource {
 public:
  virtual ~StreamSource() = default;
  // The longest contiguous run from `offset` on; empty when there is none now.
  virtual Bytes peek(std::uint64_t offset) const = 0;
  // Whether the stream ends exactly at `offset` (its end follows what was sent).
  virtual bool ends_at(std::uint64_t offset) const = 0;
  // The engine does not look at anything before `offset` any more: QUIC's peer has acknowledged it,
  // or TCP has taken it. Never called from inside peek().
  virtual void acked(std::uint64_t offset) = 0;
};

}  // namespace adit
