// An agent's life with one relay: finds it, links to it, registers the services, and comes back by
// itself, for as long as it takes. The session, and the visitors in it, outlive the links.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/agent/agent_flows.h"
#include "service/agent/link_tls.h"
#include "service/agent/local_service.h"
#include "service/agent/relay_trust.h"
#include "service/agent/uplink_link.h"
#include "service/tunnel/session.h"

namespace adit::service {

struct RelayTarget {
  HostPort address;
  std::string name;  // of its certificate, and the SNI
  std::string pin;
  std::optional<flow::HttpProxy> proxy{};  // for what goes over TCP
};

// What the agent tells its owner (the command line prints it).
class AgentEvents {
 public:
  // Registered: `urls` of each service. `resumed`: visitors went on.
  virtual void on_online(const std::string& relay, const std::vector<std::string>& urls,
                         std::string_view carrier, Duration rtt, bool resumed) = 0;
  virtual void on_offline(const std::string& relay, std::string_view why) = 0;
  // `again`: it will be tried again by itself.
  virtual void on_refused(const std::string& relay, const link::Refused& refused) = 0;
  virtual void on_unreachable(const std::string& relay, std::string_view why,
                              Duration next_try) = 0;

 protected:
  ~AgentEvents() = default;
};

enum class CarrierChoice : std::uint8_t {
  Auto,  // QUIC where it works, HTTP/2 where it does not
  Quic,
  H2,
  Ws,
};

// What all uplinks of an agent share; outlives them.
struct AgentShared {
  io::Loop& loop;
  io::Resolver& resolver;
  Log& log;
  Metrics& metrics;
  LocalServices& services;
  AgentEvents& events;
  AgentTls& tls;
  const KnownRelaysFile& known_relays;
  SessionLimits session_limits;
  CarrierChoice carrier = CarrierChoice::Auto;
  std::size_t connections = limits::kLinkConnections;  // of a link over TCP
  // 0: from the CSPRNG; else jitter and connection ids repeat (simulator)
  std::uint64_t random_seed = 0;
};

class Uplink final : private StreamAcceptor, private UplinkOwner {
 public:
  Uplink(const AgentShared& shared, RelayTarget target);
  ~Uplink();

  void start();
  // Says goodbye; `done` when the link is down.
  void stop();
  // An address or a route of this machine has come or gone.
  void network_changed();
  bool live() const { return live_ != nullptr && live_->live(); }
  bool link_down() const { return links_.empty(); }
  std::size_t streams() const { return session_ ? session_->stream_count() : 0; }
  std::size_t retained_bytes() const { return session_ ? session_->retained_bytes() : 0; }
  const RelayTarget& target() const { return target_; }
  // For status.
  std::string_view state_name() const;
  std::optional<flow::CarrierStats> stats() const;       // while live
  const std::vector<std::string>& urls() const { return urls_; }  // of the last registration
  // Why it is not live, or what is wrong with the link that it is live on: silence, or that a
  // better carrier could not be had. Empty before the first failure and while all is well.
  std::string trouble() const;
  Duration live_for() const { return live() ? shared_.loop.now() - live_since_ : Duration{0}; }
  std::size_t times_live() const { return times_live_; }
  // Since the relay last looked whether a visitor would be served; unset: it never did.
  std::optional<Duration> probed_ago() const {
    if (!probed_at_) return std::nullopt;
    return shared_.loop.now() - *probed_at_;
  }

 private:
  enum class State : std::uint8_t { Idle, Resolving, Connecting, Live, Waiting, Stopped };

  void attempt();
  void on_resolved(const Result<std::vector<Address>>& addresses);
  bool try_next_way();
  Status open_link(LinkCarrier carrier, const Address& address);
  void on_head_start();
  void find_another(std::size_t from, std::size_t to);
  void look_for_better();
  void on_better();
  void on_stream(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end) override;
  void on_strained(std::uint64_t rate) override;
  void on_relay_strained(UplinkLink&, std::uint64_t rate) override { on_strained(rate); }
  void begin_trial_count();
  void judge_trial();
  // From the link.
  Status on_peer_key(UplinkLink& link) override;
  link::Hello make_hello(UplinkLink& link) override;
  Status on_welcome(UplinkLink& link, const link::Welcome& welcome) override;
  void on_refused(UplinkLink& link, const link::Refused& refused) override;
  Result<link::Join> make_join(UplinkLink& link, flow::H2Link& connection) override;
  Session* session_of(UplinkLink& link) override;
  void on_suspect(UplinkLink& link) override;
  void on_link_down(UplinkLink& link, const flow::CarrierDown& down) override;

  // How long the live link has been waiting for an answer, where that is long enough to be said.
  std::optional<Duration> silence() const;
  void note_carrier(LinkCarrier carrier, std::string_view what);
  void after_attempt_failed(const UplinkLink& link, const flow::CarrierDown& down);
  void after_live_lost(const flow::CarrierDown& down);
  void wait(std::string_view why);
  void drop_session();
  void on_session_over();
  std::vector<std::string> urls_of(const link::Welcome& welcome) const;

  const AgentShared& shared_;
  const RelayTarget target_;
  const std::string label_;
  RelayTrust trust_;
  Prng jitter_;
  State state_ = State::Idle;
  Duration delay_{};        // of the next wait, before jitter
  Instant live_since_;
  std::size_t times_live_ = 0;
  std::vector<std::string> urls_;
  std::string trouble_;
  std::optional<Duration> retry_after_;
  bool yields_ = false;     // another agent with our key took our names

  io::ResolveRequest request_;
  struct Way {
    Address address;
    LinkCarrier carrier;
  };
  std::vector<LinkCarrier> ladder_;  // carriers, the best first
  std::vector<Way> ways_;
  std::size_t next_way_ = 0;
  std::size_t turns_ = 0;            // of looking for another than the live one
  io::Timer timer_;         // end of a wait
  // Racing each other, or the live one, beside it perhaps one over a better carrier, and those that
  // are still saying goodbye.
  std::vector<std::unique_ptr<UplinkLink>> links_;
  UplinkLink* live_ = nullptr;    // carries the session, or did until its HELLO took it to chosen_
  UplinkLink* chosen_ = nullptr;  // has proven itself first; between HELLO and WELCOME
  io::Timer head_start_;          // of what is tried before the next way
  io::Timer better_;              // until a better carrier is tried again
  std::string last_error_;
  std::string carrier_trouble_;   // of one that was not taken, whether or not it matters now
  std::optional<Instant> probed_at_;

  // A rung below QUIC, tried because QUIC brings little: kept where it brings more.
  struct Trial {
    bool wanted = false;         // its link may take the session from one that answers
    std::uint64_t rate = 0;      // that made us try, bytes a second
    std::uint64_t there = 0, here = 0;  // handed on when it took the session
    Duration pause{};            // after one that was not better
    Instant next;
  };
  Trial trial_;
  io::Timer judge_;

  // The session and what resumes it.
  std::unique_ptr<AgentFlows> flows_;
  std::unique_ptr<Session> session_;
  std::string session_id_;
  ByteVector secret_;
  std::uint8_t affinity_ = 0;
  Duration resume_window_{};
  io::Timer session_over_;
};

}  // namespace adit::service
