// The pages of a relay's admin socket, from what its threads said: JSON for programs, text for
// people, Prometheus' format for its collector. Pure: all that they show is given.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"
#include "app/sandbox.h"
#include "base/time.h"
#include "service/admin/json_writer.h"
#include "service/relay/status_collector.h"
#include "service/renewal/renewal.h"

namespace adit::app {

// What does not come from the threads.
struct RelayFacts {
  std::string version, commit;
  WallTime started;
  Duration uptime{};
  std::string io_backend, io_reason;  // "io_uring", and why
  std::size_t threads = 0;
  std::vector<ListenConfig> listen;
  std::vector<std::string> domains;
  std::string pin;  // "sha256/…" of the relay's key
  bool self_signed = false;
  bool open = false;
  bool draining = false;
  SandboxFacts sandbox;
  std::vector<service::RenewalStatus> certificates;  // by ACME
};

// The counters that status shows, added up over threads.
struct RelayTotals {
  struct Reason {
    std::string name;
    std::int64_t count = 0;
  };
  std::int64_t visitors_open = 0, visitors_accepted = 0, visitors_handed_over = 0;
  std::vector<Reason> visitors_refused;  // by name; without those at 0
  std::int64_t bytes_in = 0, bytes_out = 0;
  std::int64_t links = 0, links_accepted = 0;
  std::vector<Reason> links_refused;
  std::int64_t sessions = 0, sessions_started = 0, sessions_resumed = 0;
  std::int64_t sessions_expired = 0, sessions_superseded = 0;
  std::int64_t streams = 0;
};
RelayTotals totals_of(const std::vector<MetricSample>& samples);

std::string status_json(const RelayFacts& facts, const service::RelayReport& report);
std::string status_text(const RelayFacts& facts, const service::RelayReport& report);

// `adit agents`, and what it says of `agents kick`.
std::string agents_json(const service::RelayReport& report);
std::string agents_text(const service::RelayReport& report);
std::string kicked_text(const std::string& id, const service::RelayReport& report);

// `adit explain`, of a name or of a visitor's id.
std::string explain_json(const std::string& what, const service::RelayReport& report);
std::string explain_text(const std::string& what, const service::RelayReport& report);

// What the process is to the kernel, under the names that Prometheus' own libraries use.
struct ProcessFacts {
  double cpu_seconds = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t open_fds = 0, max_fds = 0;
};
ProcessFacts read_process_facts();

std::string metrics_page(const RelayFacts& facts, const service::RelayReport& report,
                         const ProcessFacts& process);

// --- for every process ---

struct BuildFacts {
  std::string version, commit;
  WallTime started;
  Duration uptime{};
};
// In Prometheus' format.
std::string process_metrics(const BuildFacts& build, const ProcessFacts& process);
// "certificates": [...], where there are any.
void write_certificates(service::JsonWriter& json,
                        const std::vector<service::RenewalStatus>& certificates);
// A table and an empty line, where there are any.
std::string certificates_text(const std::vector<service::RenewalStatus>& certificates);
std::string utc_text(WallTime when);       // "2026-01-31T12:00:00Z"
std::string bytes_text(std::uint64_t n);   // "1.5 MiB"
std::string duration_text(Duration d);     // "3 h 12 min"
// "serving", or "FAILING at link"; "-" before the first look.
std::string serving_text(const service::ThreadStatus::Agent& agent);
// An element of an array.
void write_agent(service::JsonWriter& json, const service::ThreadStatus::Agent& agent,
                 std::uint32_t thread);
// As an object "sandbox".
void write_sandbox(service::JsonWriter& json, const SandboxFacts& facts);
// Columns as wide as their widest cell; the first row is the heading.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

}  // namespace adit::app
