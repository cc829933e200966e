#include "service/node/node_key.h"

#include "base/bytes.h"

namespace adit::service {

NodeKey::NodeKey(const NodeKeySettings& settings, const route::OwnPlaces& own, Instant now)
    : requests(settings.requests_per_second, settings.requests_per_second * 2, now),
      bytes(settings.bytes_per_second, settings.bytes_per_second, now),
      name_(settings.name),
      digest_(crypto::sha256(as_bytes(settings.secret))),
      sessions_max_(settings.sessions),
      egress_(settings.egress, own) {}

NodeKeys::NodeKeys(const std::vector<NodeKeySettings>& settings, const route::OwnPlaces& own,
                   Instant now) {
  for (const NodeKeySettings& s : settings) keys_.push_back(std::make_unique<NodeKey>(s, own, now));
}

// Digests are compared, so that neither the length nor the first bytes show in the time; and all
// are, so that the place in the list does not.
NodeKey* NodeKeys::find(std::string_view secret) {
  const crypto::Sha256Digest digest = crypto::sha256(as_bytes(secret));
  NodeKey* found = nullptr;
  for (const auto& key : keys_)
    if (crypto::equal_constant_time(key->digest(), digest)) found = key.get();
  return found;
}

}  // namespace adit::service
