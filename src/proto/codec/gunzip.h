// gzip (RFC 1952) to plain bytes as they come, with a bound on what comes out.
#pragma once

#include <cstddef>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace adit::codec {

inline bool looks_like_gzip(Bytes in) {
  return in.size() >= 2 && in[0] == 0x1f && in[1] == 0x8b;
}

// Takes some 40 KiB while it lives. The first member only: what follows it is not looked at.
class Gunzip {
 public:
  // `output_max`: bytes, of the whole.
  explicit Gunzip(std::size_t output_max);
  ~Gunzip();
  Gunzip(Gunzip&&) noexcept;
  Gunzip& operator=(Gunzip&&) noexcept;

  // Takes all of `in` and appends to `out`. Errors are the sender's, and the last word: EBADMSG no
  // gzip or damaged, EMSGSIZE more than `output_max` (what fits has been appended); ENOMEM is ours.
  Status feed(Bytes in, ByteVector& out);
  // The member is whole, its checksum right. Else, at the end of the input, it was cut off.
  bool done() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace adit::codec
