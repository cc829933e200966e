// Relay and agent, the product's own code, as processes on simulated hosts: started, killed,
// drained and started again. Keys and certificates are the same in every run.
//
//   TunnelWorld t(world, {.relay_threads = 2});
//   ASSERT_TRUE(t.start());
//   t.visit(0, 1000, 70'000);
//   EXPECT_TRUE(t.run_until([&] { return t.all_whole(); }, 10s)) << t.report();
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/relay_settings.h"
#include "crypto/tls_context.h"
#include "service/agent/agent.h"
#include "service/relay/relay_thread.h"
#include "sim/peers.h"
#include "sim/scenario.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_resolver.h"
#include "sim/sim_world.h"
#include "sim/tunnel_peers.h"

namespace adit::sim {

inline constexpr std::size_t kRelayKeys = 2, kAgentKeys = 2;
inline constexpr std::string_view kRelayDomain = "t.example.com";

// Made once in a process, from a fixed stream of random numbers.
struct TunnelKeys {
  struct AgentKey {
    std::string certificate_pem, key_pem, id;
  };
  std::vector<app::RelayIdentity> relays;
  std::vector<service::LinkTls> relay_tls;
  std::vector<AgentKey> agents;
  std::string service_key_pem;
  std::string roots_file;  // a certificate that signs nothing: loading the system's costs too much

  static const TunnelKeys& get();
};

// One relay on a host. kill() is SIGKILL: the kernel ends its sockets, nobody is told by QUIC.
class RelayProcess {
 public:
  RelayProcess(Host& host, const SimNames& names, std::size_t threads, std::size_t key);
  ~RelayProcess() { kill(); }

  service::RelaySettings settings;  // of the next start

  void start();
  void kill();
  bool running() const { return !threads_.empty(); }
  // As SIGTERM; ends the process when it is drained.
  void drain(Duration deadline);
  void reload();  // as SIGHUP, with `settings`
  Host& host() { return host_; }
  SimLog& log() { return log_; }
  const std::string& pin() const { return TunnelKeys::get().relays[key_].pin; }

  // Of all threads.
  std::vector<service::ThreadStatus::Agent> agents() const;
  std::size_t streams() const, retained() const, links() const, visitors() const;
  std::int64_t metric(std::string_view name, std::string_view labels = {}) const;

 private:
  void on_drained();

  Host& host_;
  SimLog log_;
  const std::size_t thread_count_, key_;
  std::vector<std::unique_ptr<SimResolver>> resolvers_;
  service::RelayThreads table_;
  std::vector<std::unique_ptr<service::RelayThread>> threads_;
  std::size_t draining_ = 0;
};

// One agent on a host, and what it said.
class AgentProcess final : private service::AgentEvents {
 public:
  AgentProcess(Host& host, const SimNames& names, std::size_t key);
  ~AgentProcess() { kill(); }

  service::AgentSettings settings;  // of the next start

  void start();
  void kill();
  // As SIGTERM.
  void stop(Duration deadline);
  bool running() const { return agent_ != nullptr; }
  service::Agent& agent() { return *agent_; }
  Host& host() { return host_; }
  SimLog& log() { return log_; }
  const std::string& id() const { return TunnelKeys::get().agents[key_].id; }
  std::string own_name() const { return id() + "." + std::string(kRelayDomain); }

  bool live(std::size_t uplink = 0) const;
  std::size_t streams() const, retained() const;

  struct Seen {
    std::size_t online = 0, resumed = 0, offline = 0, unreachable = 0;
    std::vector<std::string> refused;   // codes
    std::vector<std::string> urls;      // of the last registration
    std::string why;                    // it last went offline or could not be reached
    Duration next_try{};
  };
  // By relay, "HOST:PORT".
  std::map<std::string, Seen> seen;

 private:
  void on_online(const std::string& relay, const std::vector<std::string>& urls,
                 std::string_view carrier, Duration rtt, bool resumed) override;
  void on_offline(const std::string& relay, std::string_view why) override;
  void on_refused(const std::string& relay, const link::Refused& refused) override;
  void on_unreachable(const std::string& relay, std::string_view why, Duration next) override;
  void on_stopped();

  Host& host_;
  SimLog log_;
  const std::size_t key_;
  SimResolver resolver_;
  std::unique_ptr<service::Agent> agent_;
};

struct TunnelOptions {
  std::size_t relay_threads = 1;
  std::size_t visitor_hosts = 2;
  bool passthrough = true;
};

// A relay, an agent with one service, and hosts for visitors; the name is the agent's own.
class TunnelWorld {
 public:
  explicit TunnelWorld(World& world, const TunnelOptions& options = {});
  ~TunnelWorld();

  // --- the scenery ---
  World& world;
  SimNames names;
  Host &relay_host, &agent_host;
  std::vector<Host*> visitor_hosts;
  RelayProcess relay;
  AgentProcess agent;
  TunnelService service;
  const Address relay_address;

  struct Visit {
    VisitPlan plan;
    std::unique_ptr<Visitor> visitor;
  };
  std::vector<Visit> visits;

  // --- acting ---
  // Starts both and waits until the names are registered.
  bool start(Duration limit = 10s);
  bool run_until(const World::Predicate& done, Duration limit) {
    return world.run_until(done, limit);
  }
  // A visitor from host `host`; numbered from 0. Returns its index. `hold`: it stays open.
  // `read_pause`: it reads no more for so long after each receive.
  std::size_t visit(std::size_t host, std::uint64_t up, std::uint64_t down, bool hold = false,
                    Duration read_pause = {});
  // The same for another name, which is served elsewhere.
  std::size_t visit_name(std::size_t host, const std::string& name, std::uint64_t up,
                         std::uint64_t down);
  // All bytes there, both ways, once, and the ends.
  bool whole(std::size_t visit) const;
  bool all_whole() const;
  bool any_failed() const;
  bool ended(std::size_t visit) const { return visits[visit].visitor->verifier().ended(); }
  // Nothing of the visits is kept anywhere.
  bool empty() const;
  std::string report() const;  // for failures

 private:
  const bool passthrough_;
  std::vector<std::unique_ptr<TlsClientProxy>> proxies_;
};

}  // namespace adit::sim
