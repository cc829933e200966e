#include "route/access.h"

#include <algorithm>
#include <utility>

namespace adit::route {

std::string_view code(Refusal refusal) {
  switch (refusal) {
    case Refusal::UnknownKey: return "unknown_key";
    case Refusal::NameInvalid: return "name_invalid";
    case Refusal::NameNotGranted: return "name_not_granted";
    case Refusal::NameReserved: return "name_reserved";
    case Refusal::PortNotGranted: return "port_not_granted";
  }
  return "refused";
}

AgentAccess::AgentAccess(std::vector<std::string> domains, bool open,
                         std::vector<AgentGrant> agents)
    : domains_(std::move(domains)), open_(open) {
  for (AgentGrant& grant : agents) {
    std::string id = grant.id;
    agents_.insert_or_assign(std::move(id), std::move(grant));
  }
}

std::optional<Refusal> AgentAccess::check(std::string_view key_id) const {
  if (!is_key_id(key_id)) return Refusal::UnknownKey;
  if (open_ || grant(key_id) != nullptr) return std::nullopt;
  return Refusal::UnknownKey;
}

const AgentGrant* AgentAccess::grant(std::string_view key_id) const {
  const auto found = agents_.find(key_id);
  return found == agents_.end() ? nullptr : &found->second;
}

std::vector<std::string> AgentAccess::own_names(std::string_view key_id) const {
  std::vector<std::string> names;
  for (const std::string& domain : domains_) names.push_back(std::string(key_id) + "." + domain);
  return names;
}

namespace {

bool covers(std::string_view granted, std::string_view wanted) {
  return granted == wanted || (!is_wildcard(wanted) && matches(granted, wanted));
}

}  // namespace

bool AgentAccess::granted(const AgentGrant* grant, std::string_view pattern) const {
  if (grant == nullptr) return false;
  for (const std::string& name : grant->names) {
    if (covers(name, pattern)) return true;
    if (name.find('.') != name.npos) continue;
    for (const std::string& domain : domains_)
      if (covers(name + "." + domain, pattern)) return true;
  }
  return false;
}

AgentAccess::Names AgentAccess::resolve(std::string_view key_id, std::string_view wanted) const {
  if (const auto refusal = check(key_id)) return {refusal, {}};
  if (wanted == "{id}") return {std::nullopt, own_names(key_id)};
  auto pattern = parse_pattern(wanted);
  if (!pattern) return {Refusal::NameInvalid, {}};

  std::vector<std::string> names;
  if (pattern->find('.') == pattern->npos) {
    for (const std::string& domain : domains_) names.push_back(*pattern + "." + domain);
  } else {
    names.push_back(std::move(*pattern));
  }
  const std::vector<std::string> own = own_names(key_id);
  for (const std::string& name : names) {
    if (name.size() > kNameBytesMax) return {Refusal::NameInvalid, {}};
    if (std::find(domains_.begin(), domains_.end(), name) != domains_.end())
      return {Refusal::NameReserved, {}};
    const bool is_own = std::find(own.begin(), own.end(), name) != own.end();
    if (!is_own && !granted(grant(key_id), name)) return {Refusal::NameNotGranted, {}};
  }
  return {std::nullopt, std::move(names)};
}

std::optional<Refusal> AgentAccess::check_port(std::string_view key_id, std::uint16_t port) const {
  if (const auto refusal = check(key_id)) return refusal;
  const AgentGrant* known = grant(key_id);
  if (known == nullptr) return Refusal::PortNotGranted;
  for (const PortRange& range : known->ports)
    if (port >= range.first && port <= range.last) return std::nullopt;
  return Refusal::PortNotGranted;
}

}  // namespace adit::route
