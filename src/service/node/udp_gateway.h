// What a client finds behind 192.0.2.1:7300: a UDP gateway (proto/udpgw) with its sockets, as one
// end of a stream. What is written to it are the client's frames; what is read are the answers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>

#include "flow/duplex.h"
#include "io/loop.h"
#include "proto/udpgw/gateway.h"
#include "service/node/destination.h"
#include "service/node/node_key.h"

namespace adit::service {

// Whether a stream to this place is meant for a gateway. By spelling, as clients are built with it;
// `old`: the address that tun2proxy's virtual DNS has taken since, too.
bool is_udp_gateway(std::string_view host, std::uint16_t port, bool old);

class UdpGateway final : public flow::Duplex {
 public:
  // `key`: whose rules say where datagrams may go. Both outlive it.
  UdpGateway(NodeContext& context, NodeKey& key);
  ~UdpGateway() override;

  void start() override;
  Bytes readable() override { return engine_.output(); }
  void consume(std::size_t n) override { engine_.consume_output(n); }
  bool at_end() const override { return false; }
  // Takes everything: datagrams that cannot be sent at once are lost, as anywhere on their way.
  std::size_t write(Bytes bytes) override;
  void finish() override {}
  bool flushed() const override { return true; }
  void abort() override;

 private:
  // A socket toward one place.
  struct Flow {
    Flow(UdpGateway& owner, udpgw::FlowId number, Destination to);
    void on_resolved(const Result<std::vector<Address>>& found);
    void on_datagrams(const io::Completion& c);
    void receive() { gateway.context_.loop.receive_datagrams(operation, socket); }

    UdpGateway& gateway;
    const udpgw::FlowId id;
    Destination destination;
    unsigned errors = 0;  // in a row
    io::ResolveRequest request;
    io::Socket socket;
    io::Op operation;
    io::Timer again;
  };

  void work();
  void open(const udpgw::Open& event);
  void send(const udpgw::Send& event);
  Status connect(Flow& flow, const std::vector<Address>& to);
  void fail(udpgw::FlowId id, std::string_view why);
  void announce();
  void on_idle();
  void set_idle();

  NodeContext& context_;
  NodeKey& key_;
  udpgw::Gateway engine_;
  std::map<udpgw::FlowId, std::unique_ptr<Flow>> flows_;
  bool started_ = false;
  io::Task announce_;
  io::Timer idle_;
};

}  // namespace adit::service
