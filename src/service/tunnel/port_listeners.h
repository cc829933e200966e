// The public ports of one session: bound while the session has them, given back when it ends.
//
// They are bound on the session's own thread, once, and not on every thread: a visitor arrives
// where its stream is opened, so nothing is handed over, and a range of ports costs a descriptor
// each and not one for each thread. All visitors of one agent share its link's thread anyway.
#pragma once

#include <memory>
#include <vector>

#include "base/delegate.h"
#include "base/result.h"
#include "io/bound_ports.h"
#include "io/loop.h"
#include "service/edge/edge.h"
#include "service/tunnel/relay_session.h"
#include "service/tunnel/udp_port.h"

namespace adit::service {

class RelayFlows;
class UdpPort;

class PortVisitors : public UdpVisitors {
 public:
  // A visitor of a public port; takes it, whatever becomes of it.
  virtual void visit_port(Visitor visitor, std::uint64_t session, ServiceNumber service) = 0;
  virtual void on_accept_failed(int error) = 0;

 protected:
  ~PortVisitors() = default;
};

class PortListeners {
 public:
  // `addresses`: where the relay listens; each port is bound on all of them, unless `privileged`
  // (may be null) has it already. `flows`: the session's. Both outlive it.
  PortListeners(io::Loop& loop, std::uint64_t session, std::vector<PublicPorts> ports,
                std::vector<IpAddress> addresses, io::BoundPorts* privileged, RelayFlows& flows,
                PortVisitors& visitors, Metrics& metrics);
  ~PortListeners();

  // Binds all or none, and calls `bound` later: with EADDRINUSE where somebody else has a port and
  // kept it until kPortBindDeadline, or with what else went wrong. Visitors are accepted from
  // start() on.
  void bind(Delegate<void(std::uint64_t session, const Status&)> bound);
  void start();
  // Accepts nobody any more; what runs goes on. Flows have no end to wait for: they go on, too.
  void close();
  std::uint64_t session() const { return session_; }

 private:
  struct Listener;

  void try_bind();
  Status bind_all();
  Status bind_one(const PublicPorts& ports, const Address& at);
  struct Bound {
    io::BoundPorts::Lease lease;  // of a privileged one; given back when the socket is closed
    io::Socket socket;
  };
  Result<Bound> open(route::Transport transport, const Address& at);

  io::Loop& loop_;
  const std::uint64_t session_;
  const std::vector<PublicPorts> ports_;
  const std::vector<IpAddress> addresses_;
  io::BoundPorts* const privileged_;
  RelayFlows& flows_;
  PortVisitors& visitors_;
  Metrics& metrics_;
  Delegate<void(std::uint64_t session, const Status&)> bound_;
  Instant give_up_at_;
  io::Timer again_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<io::BoundPorts::Lease> udp_leases_;
  std::vector<std::unique_ptr<UdpPort>> udp_ports_;
};

}  // namespace adit::service
