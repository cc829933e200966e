// Listens for the node's clients: HTTP/1.1 and HTTP/2 without TLS, told apart by their first bytes,
// behind whatever ends TLS.
#pragma once

#include <memory>

#include "base/limits_node.h"
#include "base/log.h"
#include "flow/http_connection.h"
#include "io/loop.h"
#include "service/edge/owned_list.h"
#include "service/node/node_site.h"

namespace adit::service {

class NodeVisit;

class NodeServer {
 public:
  // `site` outlives it.
  NodeServer(io::Loop& loop, Log& log, Metrics& metrics, NodeSite& site);
  ~NodeServer();

  // Each at most once. [::] takes IPv4 too.
  Status listen(const Address& at);
  // As bound.
  Address address() const { return loop_.local_address(listener_); }
  // Accepts nobody any more; `done` when the last request is answered, or at the deadline.
  void drain(Duration deadline, Delegate<void()> done);
  std::size_t connections() const { return visits_.size(); }

 private:
  friend class NodeVisit;
  void start() { loop_.accept(accept_, listener_); }
  void on_accepted(const io::Completion& c);
  void on_drained();
  void erase(NodeVisit& visit);

  io::Loop& loop_;
  Log& log_;
  NodeSite& site_;
  Gauge& open_;
  Counter& refused_;
  io::Socket listener_;
  io::Op accept_;
  io::Timer pause_, drain_deadline_;
  LogRateLimit once_;
  bool draining_ = false;
  Delegate<void()> drained_;
  OwnedList<NodeVisit> visits_;
};

}  // namespace adit::service
