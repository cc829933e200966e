// What became of the last visitors of a thread, for `adit explain`: a ring that never grows. Each
// visitor has an id from its hello on, which is in the log lines, in the stream's preamble and so
// in the agent's log: one id from the edge to the service.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/time.h"

namespace adit::limits {
// Visitors that `adit explain` still knows, of all threads; some 500 bytes each.
inline constexpr std::size_t kExplainedVisitorsMax = 4096;
}  // namespace adit::limits

namespace adit::service {

struct VisitorRecord {
  std::uint64_t id = 0;
  WallTime at;              // of the hello
  Address source;
  std::string sni;          // as the visitor wrote it, in lower case
  std::string alpn;         // that it offered, commas between
  std::string decision;     // route::describe
  std::string destination;  // "10.0.0.1:443", "agent ID over quic"; empty: it came to none
  std::string outcome;      // empty: under way
  std::uint64_t bytes_in = 0, bytes_out = 0;  // from and to the visitor, once it is over
  Duration took{};          // until it was over
};

// Which record is the visitor's; its place may have gone to a later visitor.
struct VisitorTag {
  std::uint64_t id = 0;  // 0: none
  std::size_t slot = 0;
};

// 16 hexadecimal digits.
std::string visitor_id_text(std::uint64_t id);
std::optional<std::uint64_t> parse_visitor_id(std::string_view text);

class VisitorJournal {
 public:
  // Of one record, so that names and lists of protocols do not fill the memory.
  static constexpr std::size_t kTextBytesMax = 255;
  // That one answer shows.
  static constexpr std::size_t kMatchesMax = 20;

  // `first`: its upper half tells this thread's ids from those of the others and of earlier runs;
  // the lower half counts. `capacity`: at least 1.
  VisitorJournal(std::uint64_t first, std::size_t capacity) : next_(first), capacity_(capacity) {}

  // A new visitor: `record` without its id.
  VisitorTag begin(VisitorRecord record);
  // One that another thread began.
  VisitorTag adopt(VisitorRecord record);
  void leads_to(const VisitorTag& tag, std::string_view destination);
  void end(const VisitorTag& tag, std::string_view outcome, WallTime now,
           std::uint64_t bytes_in = 0, std::uint64_t bytes_out = 0);

  // Of a visitor's id, of a name, or of the agent with an id; newest first.
  std::vector<VisitorRecord> matching(std::string_view what) const;

 private:
  VisitorRecord* find(const VisitorTag& tag);

  std::uint64_t next_;
  const std::size_t capacity_;
  std::vector<VisitorRecord> ring_;  // grows to capacity_ and not beyond
  std::size_t newest_ = 0;           // meaningful while not empty
};

}  // namespace adit::service
