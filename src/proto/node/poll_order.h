// The polls of one session by their numbers. Clients send several at a time, which may arrive in
// any order, and write what comes back in the order of the numbers: so bytes are given to the
// lowest number that has not been answered, and to no other. What an answer held is remembered for
// a while, by offsets, so that a poll whose answer was lost can be repeated.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <utility>

#include "base/limits_node.h"
#include "base/time.h"

namespace adit::node {

class PollOrder {
 public:
  struct Answer {
    std::uint64_t seq = 0, begin = 0, end = 0;  // offsets of the session's bytes
    bool eof = false;
    Instant at;
  };
  enum class Arrival : std::uint8_t {
    Fresh,  // to be answered; answer() or withdraw() follows
    Twin,   // the same number is being answered
    Again,  // find() has what was answered
    Past,   // answered, and forgotten
    TooMany,
  };

  Arrival arrive(std::uint64_t seq);
  // Whether bytes may be given to it now. Where the number before it does not arrive, it is given
  // up after kNodeMissingPoll.
  bool may_take(std::uint64_t seq, Instant now);
  void answer(const Answer& answer);
  // Whoever asked is gone; it may arrive again.
  void withdraw(std::uint64_t seq);
  const Answer* find(std::uint64_t seq) const;

  // Forgets answers from before `then`, and the oldest until those left hold `bytes` at most.
  void forget(Instant then, std::size_t bytes);
  // Of the answers remembered.
  std::size_t kept_bytes() const { return kept_bytes_; }
  // Offset of the first byte that an answer may still be asked for; `otherwise` if none.
  std::uint64_t kept_from(std::uint64_t otherwise) const;
  bool remembers() const { return !answers_.empty(); }

 private:
  void advance();
  void drop_oldest();

  std::uint64_t next_ = 0;
  bool any_ = false;                // has any arrived
  Instant missing_since_;           // 0: nothing is missed
  std::set<std::uint64_t> waiting_;  // Fresh, not answered
  std::set<std::uint64_t> ahead_;    // answered, beyond next_
  std::deque<Answer> answers_;       // oldest first
  std::size_t kept_bytes_ = 0;
};

}  // namespace adit::node
