// The bytes of one direction of a stream, by offset: appended at the end, read anywhere between,
// given up from the front. Addresses stay put until released (a QUIC engine points into them until
// they are acknowledged), so it is a queue of fixed chunks and not a circular array. Empty it holds
// no memory but a few pointers at most: there is one or more for each idle stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"

namespace adit {

class ByteRing {
 public:
  static constexpr std::size_t kChunkBytes = 16 * 1024;

  // The stream offset of the first byte ever appended.
  explicit ByteRing(std::uint64_t start = 0) : begin_(start), end_(start), base_(start) {}
  ByteRing(ByteRing&&) = default;
  ByteRing& operator=(ByteRing&&) = default;

  std::uint64_t begin() const { return begin_; }  // offset of the oldest byte still held
  std::uint64_t end() const { return end_; }      // offset behind the newest
  std::size_t size() const { return static_cast<std::size_t>(end_ - begin_); }
  bool empty() const { return begin_ == end_; }

  void append(Bytes in);
  // The longest contiguous run from `offset` on, which lies in [begin, end]; empty at the end.
  Bytes peek(std::uint64_t offset) const;
  // Forgets what lies before `offset` (clamped to [begin, end]).
  void release(std::uint64_t offset);

 private:
  // Not a deque, which allocates 600 bytes before anything is put into it. A stream's bound is 256
  // chunks (limits::kStreamRetainBytesMax), so taking the first one off moves 2 KiB at most.
  std::vector<std::unique_ptr<std::uint8_t[]>> chunks_;
  std::uint64_t begin_, end_;
  std::uint64_t base_;  // offset of the first byte of chunks_[0]
};

}  // namespace adit
