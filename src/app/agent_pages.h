// The pages of an agent's admin socket, from what it says of itself. Pure: all that they show is
// given.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/admin_pages.h"
#include "base/metrics.h"

namespace adit::app {

struct AgentReport {
  struct Uplink {
    std::string relay, state;
    std::string carrier;               // empty: not live
    Duration rtt{}, live_for{};
    std::size_t streams = 0, retained_bytes = 0, times_live = 0;
    std::vector<std::string> urls;     // of the last registration
    std::string trouble;               // why it is not live, or not by the best carrier
    std::optional<Duration> probed_ago;  // since the relay last saw that we answer
  };
  struct Service {
    std::string to;
    std::vector<std::string> names;    // asked for
    bool passthrough = false;
    bool self_signed = false;          // what visitors are shown is no public certificate
    // The service sees visitors' own addresses, of these families ("IPv4 and IPv6"); empty: it
    // does not.
    std::string transparent{};
  };
  BuildFacts build;
  std::string id, io_backend, io_reason;
  bool stopping = false;
  SandboxFacts sandbox;
  std::size_t connections = 0;         // to local services
  std::vector<Uplink> uplinks;
  std::vector<Service> services;
  std::vector<service::RenewalStatus> certificates;  // by ACME
  std::vector<MetricSample> samples;
};

std::string agent_status_json(const AgentReport& report);
std::string agent_status_text(const AgentReport& report);
std::string agent_metrics_page(const AgentReport& report, const ProcessFacts& process);

}  // namespace adit::app
