#include "base/byte_ring.h"

#include <algorithm>

namespace adit {

namespace {
// What the list of an empty ring may keep room for.
constexpr std::size_t kIdleChunks = 4;
}  // namespace

void ByteRing::append(Bytes in) {
  while (!in.empty()) {
    const auto used = static_cast<std::size_t>(end_ - base_);
    if (used == chunks_.size() * kChunkBytes)
      chunks_.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(kChunkBytes));
    const std::size_t at = used % kChunkBytes;
    const std::size_t n = std::min(in.size(), kChunkBytes - at);
    std::memcpy(chunks_.back().get() + at, in.data(), n);
    end_ += n;
    in = in.subspan(n);
  }
}

Bytes ByteRing::peek(std::uint64_t offset) const {
  CHECK(offset >= begin_);
  CHECK(offset <= end_);
  if (offset == end_) return {};
  const auto index = static_cast<std::size_t>((offset - base_) / kChunkBytes);
  const auto at = static_cast<std::size_t>((offset - base_) % kChunkBytes);
  const auto n = std::min<std::uint64_t>(kChunkBytes - at, end_ - offset);
  return {chunks_[index].get() + at, static_cast<std::size_t>(n)};
}

void ByteRing::release(std::uint64_t offset) {
  begin_ = std::clamp(offset, begin_, end_);
  if (begin_ == end_) {
    if (chunks_.capacity() > kIdleChunks) give_back(chunks_);
    chunks_.clear();
    base_ = end_;
    return;
  }
  const std::uint64_t gone = (begin_ - base_) / kChunkBytes;
  chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(gone));
  base_ += gone * kChunkBytes;
}

}  // namespace adit
