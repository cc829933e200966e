#include "proto/link/stream_half.h"

#include <algorithm>
#include <string>

namespace adit::link {

void SendHalf::write(Bytes bytes) {
  CHECK(!finished_);
  ring_.append(bytes);
}

Status SendHalf::check(std::uint64_t handed) const {
  const std::uint64_t most = ring_.end() + (finished_ ? 1 : 0);
  if (handed > most) {
    return Error{0, "offset " + std::to_string(handed) + " was never sent (" +
                        std::to_string(most) + " is the end)"};
  }
  return {};
}

Status SendHalf::check_resume(std::uint64_t handed) const {
  if (handed < handed_) {
    return Error{0, "offset " + std::to_string(handed) + " was confirmed before and is forgotten"};
  }
  return check(handed);
}

void SendHalf::resume(std::uint64_t handed) {
  CHECK(!attached_);
  CHECK(check_resume(handed));
  handed_ = handed;
  release();
}

void SendHalf::attach() {
  CHECK(!attached_);
  attached_ = true;
  carrier_acked_ = resume_offset();
}

void SendHalf::detach() {
  attached_ = false;
  release();
}

void SendHalf::carrier_acked(std::uint64_t offset) {
  carrier_acked_ = std::max(carrier_acked_, std::min(offset, ring_.end()));
  release();
}

Status SendHalf::peer_handed(std::uint64_t handed) {
  if (auto ok = check(handed); !ok) return ok;
  handed_ = std::max(handed_, handed);  // a late ACK says less: harmless
  release();
  return {};
}

void SendHalf::release() {
  const std::uint64_t to = std::min(handed_, ring_.end());
  ring_.release(attached_ ? std::min(to, carrier_acked_) : to);
}

}  // namespace adit::link
