// Which stream numbers an agent has ever seen: a floor below which all are, and a few above it (streams arrive
// out of order when packets are lost). It is what tells "not here yet" from "over and forgotten" when a
// session is resumed, so that no stream is ever delivered twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace adit::link {

inline constexpr std::size_t kSeenAboveMax = 4096;

class SeenNumbers {
 public:
  // False: seen before.
  bool add(std::uint64_t n) {
    if (n <= floor_ || !above_.insert(n).second) return false;
    while (!above_.empty() && *above_.begin() == floor_ + 1) {
      ++floor_;
      above_.erase(above_.begin());
    }
    return true;
  }
  bool contains(std::uint64_t n) const { return n <= floor_ || above_.contains(n); }
  // A peer that leaves more gaps than this is at fault.
  bool full() const { return above_.size() >= kSeenAboveMax; }
  std::uint64_t floor() const { return floor_; }
  std::vector<std::uint64_t> above() const { return {above_.begin(), above_.end()}; }

  // All below `next` that are not in `open` (ascending) are over: nothing will come for them. Those in `open`
  // stay as they are.
  void close_gaps(std::uint64_t next, const std::vector<std::uint64_t>& open) {
    std::size_t i = 0;
    for (std::uint64_t n = floor_ + 1; n < next && !full(); ++n) {
      while (i < open.size() && open[i] < n) ++i;
      if (i == open.size() || open[i] != n) add(n);
    }
  }

 private:
  std::uint64_t floor_ = 0;
  std::set<std::uint64_t> above_;
};

}  // namespace adit::link
