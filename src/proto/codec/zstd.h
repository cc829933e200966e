// Zstandard (RFC 8878) in both directions, with bounds on memory and on what comes out. Both
// objects keep their tables between uses (some MiB): one of each per thread is enough.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace adit::codec {

class ZstdDecoder {
 public:
  ZstdDecoder();
  ~ZstdDecoder();
  ZstdDecoder(ZstdDecoder&&) noexcept;
  ZstdDecoder& operator=(ZstdDecoder&&) noexcept;

  // One or more whole frames to bytes, appended to `out`, `output_max` at most. Errors: EBADMSG not
  // Zstandard, damaged, cut off, or made with a window beyond limits::kZstdWindowLogMax; EMSGSIZE
  // more than `output_max`; ENOMEM. `out` is as it was then.
  Status decode(Bytes in, std::size_t output_max, ByteVector& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One frame at a time: begin(), write() any number of times, finish().
class ZstdEncoder {
 public:
  explicit ZstdEncoder(int level = 3);
  ~ZstdEncoder();
  ZstdEncoder(ZstdEncoder&&) noexcept;
  ZstdEncoder& operator=(ZstdEncoder&&) noexcept;

  // Drops what an unfinished frame held. `total`, if known, makes small frames cheap and must then
  // be what write() is given altogether.
  void begin(std::optional<std::size_t> total);
  // Appends what is ready to `out`, often nothing. Errors: ENOMEM, EINVAL (not `total`).
  Status write(Bytes in, ByteVector& out);
  Status finish(ByteVector& out);

  // All of it at once.
  Status encode(Bytes in, ByteVector& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace adit::codec
