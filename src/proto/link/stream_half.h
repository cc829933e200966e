// The two directions of a stream as session state: offsets and what the sender still keeps. Pure:
// no link, no socket; both outlive the links that carry them.
//
// Offsets count the stream's bytes from its first; a direction that ended in order counts one more
// for its FIN, so that one number says "all, and the end".
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/byte_ring.h"
#include "base/result.h"

namespace adit::link {

// Sending: written by this end, kept until the far side has handed it to the socket behind it.
class SendHalf {
 public:
  // Appends all of `bytes`; the caller bounds it by room().
  void write(Bytes bytes);
  std::size_t room(std::size_t retain_bytes_max) const {
    return ring_.size() >= retain_bytes_max ? 0 : retain_bytes_max - ring_.size();
  }
  void finish() { finished_ = true; }
  bool finished() const { return finished_; }
  std::size_t retained() const { return ring_.size(); }
  std::uint64_t end() const { return ring_.end(); }

  // --- the carrier reads ---
  Bytes peek(std::uint64_t offset) const { return ring_.peek(offset); }
  bool ends_at(std::uint64_t offset) const { return finished_ && offset == ring_.end(); }

  // --- links come and go ---
  // A session is resumed: the peer says that it has `handed`. Error: it claims what was never sent,
  // or asks for what it had confirmed (a fault of the peer).
  Status check_resume(std::uint64_t handed) const;
  void resume(std::uint64_t handed);  // checked, and not attached
  // Where a carrier begins to read: the first byte not handed on.
  std::uint64_t resume_offset() const { return std::min(handed_, ring_.end()); }
  // A carrier reads from resume_offset() on: what it has read stays until carrier_acked() covers it
  // too.
  void attach();
  void detach();
  void carrier_acked(std::uint64_t offset);
  // The peer's ACK, cumulative. Error: it was never sent.
  Status peer_handed(std::uint64_t handed);

  // All bytes and the FIN are handed on at the far side.
  bool complete() const { return finished_ && handed_ == ring_.end() + 1; }

 private:
  Status check(std::uint64_t handed) const;
  void release();

  ByteRing ring_;
  std::uint64_t handed_ = 0;         // by the peer's word, FIN counted
  std::uint64_t carrier_acked_ = 0;  // the carrier points at nothing before
  bool attached_ = false;
  bool finished_ = false;
};

// Receiving: how much was handed to the socket behind this end.
class ReceiveHalf {
 public:
  void handed(std::size_t n) { handed_ += n; }
  void fin_handed() { fin_ = true; }
  bool complete() const { return fin_; }
  std::uint64_t bytes() const { return handed_; }
  // What an ACK says.
  std::uint64_t ack() const { return handed_ + (fin_ ? 1 : 0); }
  // What the last ACK said; an ACK is due when it differs.
  std::uint64_t told() const { return told_; }
  void set_told() { told_ = ack(); }

 private:
  std::uint64_t handed_ = 0;
  std::uint64_t told_ = 0;
  bool fin_ = false;
};

}  // namespace adit::link
