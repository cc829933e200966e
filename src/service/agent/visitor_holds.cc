#include "service/agent/visitor_holds.h"

#include <cerrno>

#include "base/limits.h"

namespace adit::service {

namespace {
// Our own messages come back to the network watch, whose socket holds some 250.
constexpr std::size_t kForgottenAtOnceMax = 64;
constexpr Duration kForgottenApart = 20ms;
}  // namespace

VisitorHolds::VisitorHolds(io::AnswerRoutes& routes, Metrics& metrics)
    : routes_(routes), gauge_(metrics.gauge("adit_agent_foreign_visitors")) {}

// The routes themselves go with their owner.
VisitorHolds::~VisitorHolds() { gauge_.add(-static_cast<std::int64_t>(entries_.size())); }

Result<VisitorHolds::Entry*> VisitorHolds::hold(std::uint32_t table, const IpAddress& visitor,
                                                const IpAddress& service) {
  const Key key{table, visitor};
  const auto found = entries_.find(key);
  if (found != entries_.end()) {
    Entry& entry = *found->second;
    entry.unlink();
    ++entry.uses;
    return &entry;
  }
  if (entries_.size() >= limits::kForeignVisitorsMax) {
    if (lingering_.empty()) return Error{ENOSPC, "too many visitors' addresses at once"};
    forget(*lingering_.front());
  }
  if (auto made = routes_.add_visitor(table, visitor, service); !made)
    return std::move(made).error().with("route for " + visitor.text());
  auto entry = std::make_unique<Entry>();
  entry->key = key;
  entry->uses = 1;
  gauge_.add(1);
  return entries_.emplace(key, std::move(entry)).first->second.get();
}

void VisitorHolds::release(Entry& entry, io::Transport transport, Instant now) {
  CHECK(entry.uses > 0);
  if (--entry.uses > 0) return;
  if (transport == io::Transport::Udp) return forget(entry);
  entry.until = now + limits::kForeignVisitorLinger;
  lingering_.push_back(entry);
}

Instant VisitorHolds::expire(Instant now) {
  std::size_t forgotten = 0;
  while (Entry* first = lingering_.front()) {
    if (first->until > now) return first->until;
    if (++forgotten > kForgottenAtOnceMax) return now + kForgottenApart;
    forget(*first);
  }
  return Instant::never();
}

void VisitorHolds::forget(Entry& entry) {
  routes_.remove_visitor(entry.key.first, entry.key.second);
  gauge_.add(-1);
  entries_.erase(Key(entry.key));
}

}  // namespace adit::service
