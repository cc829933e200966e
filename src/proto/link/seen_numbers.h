// Which stream numbers an agent has ever seen: all below a next one but for a few gaps (streams
// arrive out of order when packets are lost). It is what tells "not here yet" from "over and
// forgotten" when a session is resumed, so that no stream is ever delivered twice. Kept by its
// gaps: a stream that waits at the relay while thousands come and go costs one number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

namespace adit::link {

// Gaps beyond the streams that a relay may have open at a time are a fault of the relay.
inline constexpr std::size_t kUnseenMax = 2048;

class SeenNumbers {
 public:
  // Numbers begin at 1 and are below 2^62 (varints). False: seen before, or so far ahead that it
  // would leave more than kUnseenMax gaps; then nothing changes.
  bool add(std::uint64_t n) {
    if (n < next_) return unseen_.erase(n) == 1;
    if (n - next_ > kUnseenMax - unseen_.size()) return false;
    for (; next_ < n; ++next_) unseen_.insert(unseen_.end(), next_);
    ++next_;
    return true;
  }
  bool contains(std::uint64_t n) const { return n < next_ && !unseen_.contains(n); }
  // Above all that were seen.
  std::uint64_t next() const { return next_; }
  // The gaps below it, ascending.
  std::vector<std::uint64_t> unseen() const { return {unseen_.begin(), unseen_.end()}; }

  // By the relay's word all below `next` that are not in `open` are over: nothing will come for
  // them. Those in `open`, at most kUnseenMax, stay as they are. Takes the time of the lists, not
  // of the numbers.
  void close_gaps(std::uint64_t next, const std::vector<std::uint64_t>& open) {
    std::set<std::uint64_t> unseen;
    for (std::uint64_t n : open)
      if (n < next && !contains(n) && unseen.size() < kUnseenMax) unseen.insert(n);
    unseen_ = std::move(unseen);
    if (next > next_) next_ = next;
  }

 private:
  std::uint64_t next_ = 1;
  std::set<std::uint64_t> unseen_;
};

}  // namespace adit::link
