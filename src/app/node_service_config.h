// What the HTTP tunnel node is told, alone or inside a relay.
#pragma once

#include <string>
#include <vector>

#include "base/limits_node.h"
#include "route/egress.h"

namespace adit::app {

// One more key, with limits and lists of its own.
struct NodeKeyConfig {
  std::string file;  // holds the secret
  std::string name;  // for logs and metrics; the file's name unless given
  std::size_t sessions = limits::kNodeSessionsMax;
  std::size_t requests = 0;  // a second; 0: no limit
  std::size_t bytes = 0;     // a second, of payloads; 0: no limit
  std::vector<route::EgressRule> allow, deny;
  bool only_allowed = false;
  bool operator==(const NodeKeyConfig&) const = default;
};

struct NodeServiceConfig {
  // The key: from a file or a descriptor; without either from TUNNEL_AUTH_KEY of the environment.
  std::string key_file;
  int key_fd = -1;
  std::vector<route::EgressRule> allow, deny;  // of that key
  bool only_allowed = false;
  std::vector<NodeKeyConfig> more_keys;
  std::vector<IpAddress> own_addresses;  // what the world sees the node as
  bool diagnostic = false;
  bool compression = true;
  bool connect_data = true;
  bool old_gateway = true;
  Duration long_poll = limits::kNodeLongPoll;
  std::size_t sessions = limits::kNodeSessionsMax;
  std::size_t buffer_bytes = limits::kNodeBufferBytesMax;
  std::size_t body_bytes = limits::kNodeBodyBytesMax;

  // Whether a relay is to have one.
  bool wanted() const { return !key_file.empty() || key_fd >= 0 || !more_keys.empty(); }
  bool operator==(const NodeServiceConfig&) const = default;
};

}  // namespace adit::app
