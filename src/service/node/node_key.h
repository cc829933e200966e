// Who may use the node, and how much of it.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits_node.h"
#include "base/time.h"
#include "base/token_bucket.h"
#include "crypto/digest.h"
#include "route/egress.h"

namespace adit::service {

struct NodeKeySettings {
  std::string name;    // for logs and metrics; never the key
  std::string secret;  // as clients send it
  std::size_t sessions = limits::kNodeSessionsMax;
  std::uint64_t requests_per_second = 0;  // 0: no limit
  std::uint64_t bytes_per_second = 0;     // of payloads, both directions together; 0: no limit
  route::EgressLists egress{};
};

// One key with what it uses. Lives as long as the node: sessions point to it.
class NodeKey {
 public:
  NodeKey(const NodeKeySettings& settings, const route::OwnPlaces& own, Instant now);

  const std::string& name() const { return name_; }
  const crypto::Sha256Digest& digest() const { return digest_; }
  const route::EgressPolicy& egress() const { return egress_; }
  std::size_t sessions_max() const { return sessions_max_; }

  std::size_t sessions = 0;
  TokenBucket requests, bytes;

 private:
  std::string name_;
  crypto::Sha256Digest digest_;
  std::size_t sessions_max_;
  route::EgressPolicy egress_;
};

class NodeKeys {
 public:
  NodeKeys(const std::vector<NodeKeySettings>& settings, const route::OwnPlaces& own,
           Instant now);

  // Null: nobody's. Takes as long for a wrong secret as for a right one, whichever it is.
  NodeKey* find(std::string_view secret);
  const std::vector<std::unique_ptr<NodeKey>>& all() const { return keys_; }

 private:
  std::vector<std::unique_ptr<NodeKey>> keys_;
};

}  // namespace adit::service
