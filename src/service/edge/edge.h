// The front of one thread: accepts visitors, reads each hello, routes it, and hands the visitor on:
// to a static upstream, to an agent's session (maybe on another thread), or out with a TLS alert.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "flow/bulk_queue.h"
#include "flow/pump.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "proto/tls_hello/hello_reader.h"
#include "route/router.h"
#include "route/upstreams.h"
#include "service/edge/owned_list.h"
#include "service/edge/visitor_journal.h"

namespace adit::service {

class Farewell;
class Forward;
class VisitorHello;

struct EdgeLimits {
  std::size_t visitors_per_address = limits::kVisitorsPerAddressMax;
  std::size_t half_open = limits::kHalfOpenVisitorsMax;
  std::size_t visitors = limits::kVisitorsMax;
  Duration hello_deadline = limits::kHelloDeadline;
  // Load balancers: a connection from one begins with a PROXY header and counts for the address
  // that this names.
  std::vector<IpPrefix> proxy_from;
  // Visitors that can be explained, and the id of the first one; of a new edge.
  std::size_t journal = limits::kExplainedVisitorsMax;
  std::uint64_t first_visitor = 1;
  flow::PumpLimits pump{limits::kVisitorIdle, limits::kHalfClosedIdle};
};

// One [[route]] as the edge runs it.
struct StaticUpstreams {
  std::vector<HostPort> to;
  route::Upstreams health;
};

// A visitor whose hello is read: all that another thread needs to go on with it.
struct Visitor {
  io::Socket socket;
  Address peer;
  Address local;  // on the way to a static upstream only its port is known
  std::string sni;
  ByteVector early;  // every byte read so far, to be sent on first
  // What the visitor connected to, where a balancer says so.
  std::optional<Address> destination{};
  bool inside_websocket = false;  // an agent's: its TLS has come out of one
  // Came to a port of an agent's own: nobody knows what it speaks, and no alert is an answer.
  bool speaks_tls = true;
  VisitorTag tag{};
  // Of the relay itself, see service/probe: the agent answers it and not its service.
  bool probe = false;
  bool challenge = false;  // a validator's visit (RFC 8737)
};

// Where visitors of agents' names and of the relay's own go: the services of this thread.
class AgentDoor {
 public:
  // Takes the visitor, whatever becomes of it. `pattern`: the name in the table that it fell to.
  virtual void visit(Visitor visitor, const std::string& pattern) = 0;
  // An agent that opens a link over TCP. `thread`: where its session is, by its own word.
  virtual void link(Visitor agent, std::optional<std::uint32_t> thread) = 0;
  // A visitor of the relay's own name. It stays entered until the service calls leave().
  virtual void own_site(Visitor visitor) = 0;
  // A validator that asks for a name of the relay's own. False: there is no challenge for that
  // name, and the visitor is still the caller's.
  virtual bool challenge(Visitor& visitor, const std::string& name) = 0;

 protected:
  ~AgentDoor() = default;
};

class Edge {
 public:
  Edge(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics, const EdgeLimits& limits,
       const route::RouterTable& table, std::vector<StaticUpstreams> upstreams, AgentDoor& agents);
  ~Edge();
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;

  // Takes a bound listener and accepts on it.
  void listen(io::Socket listener);
  // Stops accepting; what runs goes on.
  void close_listeners();
  // After a reload: for new visitors.
  void set_upstreams(std::vector<StaticUpstreams> upstreams);
  void set_limits(const EdgeLimits& limits) { limits_ = limits; }

  // --- for the conversations and for the agents' door ---
  // Joins a visitor to `far` (a session's stream); `description` is for the log.
  void pump(Visitor visitor, std::unique_ptr<flow::Duplex> far);
  // Whether there is room for one more, of this address and at all. One that there is room for is
  // counted (enter()); the other is counted as refused, and its socket to be closed by RST.
  bool let_in(const io::Socket& socket, const Address& peer);
  // Refuses a visitor that is not counted: by an alert where it speaks TLS, else by RST.
  void turn_away(Visitor visitor, TlsAlert alert, std::string_view reason);
  // Sends a fatal alert and closes in order; `reason` is a bounded set (a metric's label).
  void turn_away(io::Socket socket, const Address& peer, TlsAlert alert, std::string_view reason,
                 std::string_view sni, const VisitorTag& tag = {});
  VisitorJournal& journal() { return journal_; }
  // A visitor that brings no hello, of a public port: it gets its id here.
  void note(Visitor& visitor, std::string decision);
  // A visitor that another thread accepted; `pattern` is the name it fell to.
  void adopt(Visitor& visitor, const std::string& pattern);
  // Of the upstreams of a route: whether one would be dialled with hope.
  bool forecast(std::size_t route, std::vector<std::string>& facts) const;

  std::size_t half_open() const { return hellos_.size(); }
  std::size_t forwarded() const { return forwards_.size(); }
  // A visitor counts in the limits from enter() to leave().
  void enter(const Address& peer);
  void leave(const Address& peer);
  bool idle() const { return hellos_.size() == 0 && forwards_.size() == 0; }
  // Ends every conversation (the drain's deadline).
  void abort_all();

  struct Counters {
    Counter &accepted, &refused_address, &refused_half_open, &refused_total, &accept_errors;
    Counter &routed_static, &routed_agent, &dial_failed, &bytes_in, &bytes_out;
    Gauge &open;
  };

 private:
  friend class Farewell;
  friend class Forward;
  friend class VisitorHello;

  struct Listener;

  void on_accepted(Listener& listener, const io::Completion& c);
  void admit(io::Socket socket, std::uint16_t local_port);
  bool is_balancer(const IpAddress& ip) const;
  bool over_address_limit(const Address& peer);
  void on_hello(Visitor visitor, const ClientHello& hello);
  void forward_static(Visitor visitor, std::size_t index);
  void log_once(const Address& peer, std::string_view event, std::string_view sni,
                std::string_view detail, const VisitorTag& tag = {});
  VisitorRecord record_of(const Visitor& visitor) const;
  Farewell& farewell(io::Socket socket, const Address& peer);
  void refuse_hello(io::Socket socket, const Address& peer, HelloFault fault);
  void count_refused(std::string_view reason);

  io::Loop& loop_;
  io::Resolver& resolver_;
  Log& log_;
  Metrics& metrics_;
  EdgeLimits limits_;
  const route::RouterTable& table_;
  // Shared with forwards under way, which may outlive a reload.
  std::vector<std::unique_ptr<StaticUpstreams>> upstreams_;
  std::vector<std::unique_ptr<StaticUpstreams>> retired_upstreams_;
  AgentDoor& agents_;
  Counters counters_;
  flow::BulkQueue bulk_;
  LogRateLimit once_;
  VisitorJournal journal_;

  std::vector<std::unique_ptr<Listener>> listeners_;
  OwnedList<VisitorHello> hellos_;
  OwnedList<Forward> forwards_;
  OwnedList<Farewell> farewells_;
  std::unordered_map<IpAddress, std::uint32_t, AddressHash> per_address_;
};

}  // namespace adit::service
