// Probes the sessions of one relay thread, each once a period, and remembers what came of it. That,
// not a socket's state, is what `status` says: serving, since when; or what fails, and on which
// leg. A link behind which nothing answers is closed, so that its agent dials again, over another
// carrier if need be.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "service/probe/probe.h"

namespace adit::limits {
inline constexpr Duration kProbePeriod = 10s;
inline constexpr Duration kProbeDeadline = 5s;         // of one probe
inline constexpr std::size_t kProbesAtOnceMax = 64;    // per thread; the others wait their turn
inline constexpr unsigned kProbesLostMax = 2;          // in a row, and the link is closed
}  // namespace adit::limits

namespace adit::service {

struct ProbeState {
  bool serving = false;
  Instant since;         // of what is said here
  ProbeLeg leg = ProbeLeg::None;
  std::string what;      // of a failure
  Duration took{};
  unsigned lost = 0;     // in a row on the leg "link"
};

// The sessions, as the prober sees them.
class ProbeTargets {
 public:
  struct Target {
    std::uint64_t session = 0;
    std::string name;  // a host name that it serves
    bool linked = false;
  };
  virtual std::vector<Target> probe_targets() const = 0;
  // Nothing comes back over the session's link.
  virtual void on_probes_lost(std::uint64_t session) = 0;

 protected:
  ~ProbeTargets() = default;
};

struct ProbeSettings {
  Duration period{};          // zero: never
  Address relay;              // where its edge listens
  bool by_balancer = false;   // see Probe
};

class Prober {
 public:
  Prober(io::Loop& loop, Log& log, Metrics& metrics, ProbeTargets& targets);

  // Once; `seed` is for the jitter.
  void start(const ProbeSettings& settings, std::uint64_t seed);
  void stop();
  void set_by_balancer(bool by_balancer) { settings_.by_balancer = by_balancer; }
  const ProbeState* state_of(std::uint64_t session) const;

 private:
  struct Entry {
    Instant due;
    std::optional<ProbeState> state;
    std::string name;
  };

  void on_tick();
  void probe(std::uint64_t session, Entry& entry);
  void on_done(Probe& probe, const ProbeResult& result);
  void judge(std::uint64_t session, Entry& entry, const ProbeResult& result);
  Instant next_due();

  io::Loop& loop_;
  Log& log_;
  Metrics& metrics_;
  ProbeTargets& targets_;
  ProbeSettings settings_;
  Prng jitter_{1};
  std::optional<crypto::TlsContext> tls_;
  io::Timer tick_;
  std::map<std::uint64_t, Entry> entries_;  // of the sessions of the last tick
  std::vector<std::unique_ptr<Probe>> running_;
};

}  // namespace adit::service
