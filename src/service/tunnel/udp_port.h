// One public UDP port of a session. Who sends to it from one address is a flow; the answers go back
// from the address and port that the visitor sent to, whichever of the host's that was.
#pragma once

#include <map>

#include "base/metrics.h"
#include "io/loop.h"
#include "service/tunnel/relay_flows.h"

namespace adit::service {

class UdpVisitors {
 public:
  // Whether this visitor may have a flow of the session.
  virtual bool admits_flow(std::uint64_t session, const Address& visitor) = 0;

 protected:
  ~UdpVisitors() = default;
};

class UdpPort final : private FlowSink {
 public:
  // `flows` outlives it.
  UdpPort(io::Loop& loop, io::Socket socket, std::uint64_t session, ServiceNumber service,
          RelayFlows& flows, UdpVisitors& visitors, Metrics& metrics);
  ~UdpPort();

  void start() { loop_.receive_datagrams(receive_, socket_); }

 private:
  using Key = std::pair<Address, IpAddress>;  // the visitor, and ours that it sent to

  void on_datagrams(const io::Completion& c);
  void on_datagram(const Address& visitor, const Address& local, Bytes payload);
  void on_answer(link::FlowNumber flow, const link::FlowOpen& open, Bytes payload) override;
  void on_flow_over(link::FlowNumber flow, const link::FlowOpen& open) override;

  io::Loop& loop_;
  io::Socket socket_;
  const std::uint64_t session_;
  const ServiceNumber service_;
  const std::uint16_t port_;
  RelayFlows& flows_;
  UdpVisitors& visitors_;
  std::map<Key, link::FlowNumber> by_visitor_;
  io::Op receive_;
  io::Timer again_;
  Counter &unsent_, &denied_;
};

}  // namespace adit::service
