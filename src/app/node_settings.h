// From configuration to what the node runs on; reads the keys.
#pragma once

#include "app/node_config.h"
#include "base/result.h"
#include "service/node/node.h"

namespace adit::app {

// An error: there is no key, or one that everybody knows. `warnings` is for people.
Result<service::NodeSettings> make_node_settings(const NodeServiceConfig& config,
                                                 const Environment& environment,
                                                 std::vector<std::uint16_t> ports,
                                                 std::vector<std::string>& warnings);

}  // namespace adit::app
