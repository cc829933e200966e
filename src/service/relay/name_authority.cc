#include "service/relay/name_authority.h"

#include <algorithm>

namespace adit::service {

void apply(route::NameTable& table, const NameChange& change) {
  switch (change.kind) {
    case NameChange::Kind::Claim:
      for (const GrantedName& n : change.names)
        table.claim(n.pattern, {change.key_id, change.session, n.service, change.thread, n.quic});
      break;
    case NameChange::Kind::ReleaseSession:
      table.release_session(change.key_id, change.session);
      break;
  }
}

NameAuthority::Outcome NameAuthority::claim(const ClaimRequest& request) {
  Outcome out;
  out.answer.session = request.session;
  // All or none: first whether another key stands in the way, then the claims.
  for (const GrantedName& n : request.names) {
    const route::NameOwner* owner = table_.owner_of(n.pattern);
    if (owner == nullptr) continue;
    const bool same_key = owner->key_id == request.key_id;
    if (same_key && !request.yields) continue;
    out.answer.refused_name = n.pattern;
    out.answer.refused_code =
        same_key ? kSuperseded : route::name(route::ClaimVerdict::TakenByOther);
    return out;
  }
  for (const GrantedName& n : request.names) {
    const auto outcome =
        table_.claim(n.pattern, {request.key_id, request.session, n.service, request.thread});
    if (!route::granted(outcome.verdict)) {
      table_.release_session(request.key_id, request.session);
      out.answer.refused_name = n.pattern;
      out.answer.refused_code = route::name(outcome.verdict);
      out.superseded.clear();
      return out;
    }
    if (outcome.verdict != route::ClaimVerdict::TakenOver) continue;
    const bool known =
        std::any_of(out.superseded.begin(), out.superseded.end(),
                    [&](const auto& o) { return o.session == outcome.previous->session; });
    if (!known) out.superseded.push_back(*outcome.previous);
  }
  return out;
}

void NameAuthority::release(const std::string& key_id, std::uint64_t session) {
  table_.release_session(key_id, session);
}

}  // namespace adit::service
