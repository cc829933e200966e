#include "route/name_table.h"

#include <algorithm>
#include <utility>

namespace adit::route {

std::string_view name(ClaimVerdict verdict) {
  switch (verdict) {
    case ClaimVerdict::Claimed: return "claimed";
    case ClaimVerdict::Kept: return "kept";
    case ClaimVerdict::TakenOver: return "taken_over";
    case ClaimVerdict::TakenByOther: return "taken_by_other";
    case ClaimVerdict::TooMany: return "too_many_names";
  }
  return "unknown";
}

ClaimOutcome NameTable::claim(std::string_view pattern, NameOwner owner) {
  const auto found = owners_.find(pattern);
  if (found == owners_.end()) {
    if (count(owner.key_id) >= names_per_key_max_) return {ClaimVerdict::TooMany, std::nullopt};
    by_key_[owner.key_id].emplace_back(pattern);
    quic_ += owner.quic ? 1 : 0;
    owners_.emplace(pattern, std::move(owner));
    return {ClaimVerdict::Claimed, std::nullopt};
  }
  if (found->second.key_id != owner.key_id) return {ClaimVerdict::TakenByOther, found->second};
  const bool same_session = found->second.session == owner.session;
  quic_ += owner.quic ? 1 : 0;
  quic_ -= found->second.quic ? 1 : 0;
  NameOwner previous = std::exchange(found->second, std::move(owner));
  return {same_session ? ClaimVerdict::Kept : ClaimVerdict::TakenOver, std::move(previous)};
}

bool NameTable::release(std::string_view pattern, std::uint64_t session) {
  const auto found = owners_.find(pattern);
  if (found == owners_.end() || found->second.session != session) return false;
  forget(pattern, found->second.key_id);
  quic_ -= found->second.quic ? 1 : 0;
  owners_.erase(found);
  return true;
}

std::vector<std::string> NameTable::release_session(std::string_view key_id,
                                                    std::uint64_t session) {
  std::vector<std::string> released;
  const auto key = by_key_.find(key_id);
  if (key == by_key_.end()) return released;
  for (const std::string& pattern : key->second)
    if (owners_.at(pattern).session == session) released.push_back(pattern);
  for (const std::string& pattern : released) release(pattern, session);
  return released;
}

void NameTable::move_session(std::string_view key_id, std::uint64_t session,
                             std::uint32_t thread) {
  const auto key = by_key_.find(key_id);
  if (key == by_key_.end()) return;
  for (const std::string& pattern : key->second) {
    NameOwner& owner = owners_.at(pattern);
    if (owner.session == session) owner.thread = thread;
  }
}

std::optional<NameTable::Found> NameTable::find(std::string_view name) const {
  const auto found = find_by_name(owners_, name);
  if (found == owners_.end()) return std::nullopt;
  return Found{found->first, &found->second};
}

const NameOwner* NameTable::owner_of(std::string_view pattern) const {
  const auto found = owners_.find(pattern);
  return found == owners_.end() ? nullptr : &found->second;
}

std::size_t NameTable::count(std::string_view key_id) const {
  const auto key = by_key_.find(key_id);
  return key == by_key_.end() ? 0 : key->second.size();
}

void NameTable::forget(std::string_view pattern, std::string_view key_id) {
  const auto key = by_key_.find(key_id);
  CHECK(key != by_key_.end());
  std::erase(key->second, pattern);
  if (key->second.empty()) by_key_.erase(key);
}

}  // namespace adit::route
