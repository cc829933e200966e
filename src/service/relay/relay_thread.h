// One thread of the relay: its edge, its UDP ports, its tunnel, and its place among the others.
// Threads talk by messages only; thread 0 also holds the name authority.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "route/access.h"
#include "io/bound_ports.h"
#include "route/router.h"
#include "service/edge/edge.h"
#include "service/edge/visitor_journal.h"
#include "service/relay/forecast.h"
#include "service/relay/name_authority.h"
#include "service/renewal/alpn_answers.h"
#include "service/node/node_site.h"
#include "service/site/site.h"
#include "service/tunnel/fabric.h"
#include "service/tunnel/link_port.h"
#include "service/tunnel/tunnel.h"

namespace adit::service {

// What configuration says, as each thread gets its own copy of it.
struct RelaySettings {
  std::vector<std::string> domains;
  std::vector<std::string> own_names;           // of the relay's HTTPS, beside the domains
  std::vector<route::StaticRule> rules;         // the same order as upstreams
  std::vector<std::vector<HostPort>> upstreams;
  std::vector<std::optional<HostPort>> udp_upstreams;  // of QUIC; in the same order
  bool open = false;
  std::vector<route::AgentGrant> agents;
  EdgeLimits edge;
  TunnelLimits tunnel;
  std::uint16_t public_port = 443;
  Duration probe_period{};       // zero: agents are not probed
  std::uint32_t run_number = 0;  // 24 bits: tells visitors' ids from those of earlier runs
  std::optional<NodeSettings> node{};  // the HTTP tunnel node on the relay's own name
};

// For links and for the own HTTPS. A context for QUIC serves no TCP connection
// (quic::Connection::prepare()).
struct LinkTls {
  crypto::TlsContext quic, h2, site;
};

// The addresses on which every thread listens.
struct RelayPorts {
  std::vector<Address> tcp, udp;
  // Public ports that are bound with them, before the privilege for that is given up, and wait in
  // `bound` (which outlives the threads; null where there are none) for an agent that is granted
  // them.
  std::vector<std::pair<io::Transport, std::uint16_t>> privileged;
  io::BoundPorts* bound = nullptr;
};

// What a thread is asked besides its status.
struct ThreadQuery {
  std::string explain;  // a name, or a visitor's id
  std::string kick;     // an agent's id: its sessions end
  bool operator==(const ThreadQuery&) const = default;
};

// For `status`: what one thread has.
struct ThreadStatus {
  struct Agent {
    std::string key_id, carrier, peer, state;
    std::vector<std::string> names;
    std::size_t streams = 0;
    std::size_t flows = 0;
    std::size_t retained_bytes = 0;  // sent and not yet handed on at the agent
    Duration rtt{};
    std::uint64_t bytes_in = 0, bytes_out = 0;  // from and to the agent, of all streams so far
    std::uint64_t rate = 0;                     // granted bytes a second, each way; 0: no limit
    std::size_t streams_max = 0;
    std::optional<ProbeState> probe;            // unset: not probed yet
    Duration probe_age{};                       // of what `probe` says
  };
  std::uint32_t thread = 0;
  std::size_t half_open = 0, forwarded = 0, links = 0;
  std::vector<Agent> agents;
  std::vector<MetricSample> metrics;
  ThreadQuery query;                    // that this answers
  std::vector<VisitorRecord> visitors;  // those explained, newest first
  std::optional<Forecast> forecast;     // of the name explained
  std::size_t kicked = 0;               // sessions that were ended
};

class RelayThread;

// All threads of a relay, in the order of their index. Filled before the first runs, never changed
// after.
struct RelayThreads {
  struct Entry {
    io::Loop* loop = nullptr;
    RelayThread* thread = nullptr;
  };
  std::vector<Entry> entries;
};

class RelayThread final : private Fabric, private AgentDoor, private SiteDoor {
 public:
  // `tls` outlives the threads. `reset_secret`: 32 bytes, the same for all.
  RelayThread(std::uint32_t index, const RelayThreads& threads, io::Loop& loop,
              io::Resolver& resolver, Log& log, const RelaySettings& settings,
              const LinkTls& tls, Bytes reset_secret);
  ~RelayThread();

  // Binds and begins to serve; threads do it one after the other, in the order of their index
  // (steering). EADDRINUSE and EACCES name the address.
  Status listen(const RelayPorts& ports);

  // --- on this thread only (from messages) ---
  void reload(const RelaySettings& settings);
  // Stops accepting, tells the agents; `drained` is called when nothing is left, at the deadline at
  // the latest.
  void drain(Duration deadline, Delegate<void()> drained);
  // For links from now on; those that are up keep what they have.
  void set_link_tls(std::unique_ptr<LinkTls> tls);
  AlpnAnswers& alpn_answers() { return answers_; }
  ThreadStatus status() const;
  ThreadStatus answer(const ThreadQuery& query);
  Metrics& metrics() { return metrics_; }

  // Runs `work` (a callable taking RelayThread&) on the thread with this index.
  template <class Work>
  static bool post(const RelayThreads& threads, std::uint32_t index, Work work);

 private:
  Status bind_privileged(const RelayPorts& ports);
  std::uint32_t index() const override { return index_; }
  std::uint32_t count() const override;
  void claim(ClaimRequest request) override;
  void release(const std::string& key_id, std::uint64_t session) override;
  void hand_over(std::uint32_t thread, Visitor visitor, const std::string& pattern) override;
  void hand_over_link(std::uint32_t thread, Visitor agent) override;
  void pass_on(std::uint32_t thread, StrayDatagram datagram) override;
  void share_id(std::size_t port, const quic::ConnectionId& id) override;

  void visit(Visitor visitor, const std::string& pattern) override {
    tunnel_->visits().visit(std::move(visitor), pattern);
  }
  void link(Visitor agent, std::optional<std::uint32_t> thread) override {
    tunnel_->link(std::move(agent), thread);
  }
  void own_site(Visitor visitor) override;
  void link_inside(std::unique_ptr<flow::Duplex> stream, const Address& peer,
                   const std::string& sni, std::optional<std::uint32_t> thread) override;
  bool challenge(Visitor& visitor, const std::string& name) override;

  Forecast forecast(std::string_view name);
  void decide_claim(const ClaimRequest& request);     // thread 0
  void broadcast(const NameChange& change);
  void check_drained();
  void on_drain_deadline();
  bool is_balancer(const IpAddress& ip) const;
  static route::RouterTable make_table(const RelaySettings& settings);

  const std::uint32_t index_;
  const RelayThreads& threads_;
  io::Loop& loop_;
  Log& log_;
  const LinkTls* tls_;
  std::unique_ptr<LinkTls> own_tls_;  // once the certificate was changed
  const ByteVector reset_secret_;
  Metrics metrics_;
  io::Resolver& resolver_;
  AlpnAnswers answers_;
  route::RouterTable table_;
  std::vector<std::optional<HostPort>> udp_upstreams_;
  Edge edge_;
  // Sessions belong to one thread: with a node, all visitors of the own site go to thread 0.
  struct NodeService {
    NodeService(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics,
                const NodeSettings& settings)
        : bulk(loop), node(loop, resolver, log, metrics, settings), site(node, bulk) {}
    flow::BulkQueue bulk;
    Node node;
    NodeSite site;
  };
  const bool has_node_;
  std::unique_ptr<NodeService> node_;  // thread 0
  Site site_;
  std::vector<std::unique_ptr<LinkPort>> ports_;  // outlive the links of the tunnel
  std::optional<Tunnel> tunnel_;
  std::optional<NameAuthority> authority_;        // thread 0
  std::optional<Prober> prober_;                  // of the tunnel's sessions
  const Duration probe_period_;
  std::vector<IpPrefix> proxy_from_;
  Address own_port_;  // that probes go to

  io::Timer drain_deadline_;
  io::Timer drain_check_;
  Delegate<void()> drained_;
};

namespace detail {
template <class Work>
class ThreadMessage final : public io::Message {
 public:
  ThreadMessage(RelayThread& thread, Work work) : thread_(thread), work_(std::move(work)) {}
  void run() override { work_(thread_); }

 private:
  RelayThread& thread_;
  Work work_;
};
}  // namespace detail

template <class Work>
bool RelayThread::post(const RelayThreads& threads, std::uint32_t index, Work work) {
  const RelayThreads::Entry& to = threads.entries[index];
  return to.loop->post(
      std::make_unique<detail::ThreadMessage<Work>>(*to.thread, std::move(work)));
}

}  // namespace adit::service
