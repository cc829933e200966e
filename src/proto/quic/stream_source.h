// What a QUIC stream sends, by QUIC stream offset. The engine never copies it: the bytes stay with
// their owner, at the same address, until acked() has covered them or the connection is gone.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace adit::quic {

class StreamSource {
 public:
  virtual ~StreamSource() = default;
  // The longest contiguous run from `offset` on; empty when there is none now.
  virtual Bytes peek(std::uint64_t offset) const = 0;
  // Whether the stream ends exactly at `offset` (FIN follows what was sent).
  virtual bool ends_at(std::uint64_t offset) const = 0;
  // The peer's QUIC has acknowledged all before `offset`. Never called from inside peek().
  virtual void acked(std::uint64_t offset) = 0;
};

}  // namespace adit::quic
