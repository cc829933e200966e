// From configuration to what the relay's threads run on, and the relay's identity.
#pragma once

#include <string>

#include "app/config.h"
#include "base/result.h"
#include "crypto/tls_context.h"
#include "service/relay/relay_thread.h"

namespace adit::app {

// The file's grants that could not be read are left out and returned as text, for the log.
struct SettingsAndFaults {
  service::RelaySettings settings;
  std::vector<std::string> faults;
  bool agents_unreadable = false;  // the file is there: an empty list is not what it says
};
// Reads `authorized_agents`; a file that is not there is an empty one.
SettingsAndFaults make_settings(const RelayConfig& config);

// [::] becomes 0.0.0.0 on a machine without IPv6.
service::RelayPorts make_ports(const RelayConfig& config);

struct RelayIdentity {
  std::string certificate_pem, key_pem;
  std::string pin;         // "sha256/…" of the certificate's key
  bool self_signed = false;
  std::array<std::uint8_t, 32> reset_secret{};
};
// The configured PEM files, or a self-signed development certificate with a key kept in the state
// folder.
Result<RelayIdentity> load_identity(const RelayConfig& config, WallTime now);
Result<service::LinkTls> make_link_tls(const RelayIdentity& identity);

}  // namespace adit::app
