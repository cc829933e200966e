// Which visitors' addresses are in use at local services, so that the answers to them come back
// here, and when one may be given up again. Does no waiting: times come in.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "base/list.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/time.h"
#include "io/answer_routing.h"

namespace adit::service {

class VisitorHolds {
 public:
  // `routes` outlives it.
  VisitorHolds(io::AnswerRoutes& routes, Metrics& metrics);
  ~VisitorHolds();

  class Entry;
  // The visitor's answers come back from now on. ENOSPC: kForeignVisitorsMax are in use; else the
  // kernel's refusal. Each success takes one release().
  Result<Entry*> hold(std::uint32_t table, const IpAddress& visitor, const IpAddress& service);
  // Of TCP the address stays kForeignVisitorLinger longer: what the kernel still has to say for a
  // socket that is closed (FIN, TIME_WAIT) goes the same way.
  void release(Entry& entry, io::Transport transport, Instant now);
  // Gives up what has lingered, some of it at a time, since each is a call; the next time to ask,
  // never() when nothing lingers.
  Instant expire(Instant now);
  std::size_t size() const { return entries_.size(); }

 private:
  void forget(Entry& entry);

  using Key = std::pair<std::uint32_t, IpAddress>;
  io::AnswerRoutes& routes_;
  Gauge& gauge_;
  std::map<Key, std::unique_ptr<Entry>> entries_;
  List<Entry, Entry> lingering_;  // the longest first
};

class VisitorHolds::Entry final : public ListNode<Entry> {
 private:
  friend class VisitorHolds;
  Key key;
  std::size_t uses = 0;
  Instant until;  // where there are none
};

}  // namespace adit::service
