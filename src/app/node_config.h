// What the HTTP tunnel node is told where it runs alone (adit node).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/node_service_config.h"

namespace adit::app {

struct NodeConfig {
  std::optional<Address> listen;  // unset: PORT of the environment, on every address
  NodeServiceConfig node;
  std::string admin;  // path of the admin socket; empty: none
  std::optional<Address> metrics;
  LogConfig log;
  IoBackend io_backend = IoBackend::Auto;
  bool sandbox = true;
  std::string user;
  bool operator==(const NodeConfig&) const = default;
};

Loaded<NodeConfig> load_node_config(const ConfigSources& sources, const Environment& environment);
Loaded<NodeConfig> parse_node_config(std::string_view text, const ConfigSources& sources,
                                     const Environment& environment);
std::string print(const NodeConfig& config, PrintMode mode, const Environment& environment);
std::vector<ConfigKeyInfo> node_config_keys();

}  // namespace adit::app
