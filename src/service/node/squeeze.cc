#include "service/node/squeeze.h"

#include <array>

namespace adit::service {

namespace {
constexpr std::size_t kChunkBytes = std::size_t{64} << 10;
// A chunk costs the encoder about this much of what a turn may move (some 250 MB/s against the
// several GB/s of a copy).
constexpr std::size_t kCost = 4;
}  // namespace

void Squeeze::add(SqueezeWork& work) {
  CHECK(work.writer);
  works_.push_back(work);
  bulk_.push(*this);
}

std::size_t Squeeze::run_chunk() {
  SqueezeWork* work = works_.front();
  if (work == nullptr) return 0;
  if (!std::exchange(work->begun_, true)) {
    out_.clear();
    encoder_.begin(static_cast<std::size_t>(work->writer->size()));
  }
  std::array<std::uint8_t, kChunkBytes> chunk;
  const std::size_t n = work->writer->read(chunk);
  const Status ok =
      n > 0 ? encoder_.write(Bytes(chunk).first(n), out_) : encoder_.finish(out_);
  if (!works_.empty()) bulk_.push(*this);
  if (n > 0 && ok) return n * kCost;
  works_.pop_front();
  if (ok) {
    work->on_squeezed(std::exchange(out_, {}));
  } else {
    work->on_squeezed(std::nullopt);
  }
  return kChunkBytes;
}

}  // namespace adit::service
