// Visitors of an agent's names and the local service behind the agent, for scenarios of the tunnel.
// What a visitor sends says how many bytes go each way, so both ends check every byte, and that
// each visitor reached the service exactly once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flow/bulk_queue.h"
#include "flow/dialer.h"
#include "flow/pump.h"
#include "service/edge/owned_list.h"
#include "sim/peers.h"
#include "sim/sim_resolver.h"

namespace adit::sim {

// A valid ClientHello for `name`, the same for every call with it.
const ByteVector& client_hello(const std::string& name);

struct VisitPlan {
  std::uint64_t number = 0;  // of the visitor in its world
  std::uint64_t up = 0, down = 0;  // bytes to and from the service, behind hello and header
  bool hold = false;               // neither end ever ends its direction
};

// The first bytes of a visitor: `hello`, and what the service has to know.
ByteVector visit_prefix(const ByteVector& hello, const VisitPlan& plan);
// What the Visitor sends and expects.
VisitorPlan visitor_plan(const ByteVector& hello, const VisitPlan& plan);

// Reads hello and header, then sends and checks what the header says, and closes when both are
// through.
class TunnelService final : public Server {
 public:
  struct Outcome {
    std::size_t connections = 0;
    std::uint64_t received = 0, expected = 0;  // of the pattern
    bool intact = true, eof = false, sent = false;
    int error = 0;
    bool whole() const {
      return connections == 1 && intact && eof && sent && error == 0 && received == expected;
    }
  };
  // `hello`: what every visitor of this service begins with; empty where the agent ends TLS.
  TunnelService(io::Loop& loop, const Address& at, ByteVector hello);
  ~TunnelService() override;

  // Of one visitor; nothing yet where its header has not come.
  Outcome of(std::uint64_t number) const;
  std::size_t open() const;
  std::size_t strangers() const { return strangers_; }  // began with something else

 private:
  class Connection;
  void serve(io::Socket socket) override;

  const ByteVector hello_;
  std::map<std::uint64_t, Outcome> outcomes_;
  std::size_t strangers_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;
};

// A TLS client as a process of its own: whoever connects to `at` in the clear is joined to `to`
// over TLS, with `name` as SNI and whatever certificate there is.
class TlsClientProxy final : public Server {
 public:
  TlsClientProxy(io::Loop& loop, const Address& at, const Address& to, std::string name);
  ~TlsClientProxy() override;
  std::size_t failed() const { return failed_; }
  std::size_t open() const { return joined_.size(); }

 private:
  class Joined;
  void serve(io::Socket socket) override;

  const Address to_;
  const std::string name_;
  SimNames names_;
  SimResolver resolver_;
  flow::BulkQueue bulk_;
  flow::PumpLimits limits_{1h, 1h};
  service::OwnedList<Joined> joined_;
  std::size_t failed_ = 0;
};

}  // namespace adit::sim
