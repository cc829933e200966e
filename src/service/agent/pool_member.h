// A further connection of an agent's link over TCP, until the relay has been told to whose link it
// belongs: way, handshake, JOIN. Then it is the carrier's.
#pragma once

#include <memory>
#include <string>

#include "flow/carrier.h"
#include "flow/h2_link.h"
#include "io/loop.h"
#include "service/agent/tcp_way.h"

namespace adit::service {

class PoolMember;

class PoolOwner {
 public:
  // The handshake is done. The frame that proves whose link this is, or an error.
  virtual Result<ByteVector> join_frame(flow::H2Link& link) = 0;
  // The frame is on its way. The member is to be destroyed, here or later.
  virtual void on_joined(PoolMember& member, std::unique_ptr<flow::H2Link> link) = 0;
  // It is not there, or gone; to be destroyed as above.
  virtual void on_member_failed(PoolMember& member) = 0;

 protected:
  ~PoolOwner() = default;
};

class PoolMember final : private flow::CarrierListener {
 public:
  // `make`: the connection on a way that is there; null when TLS cannot begin.
  using Make = Delegate<std::unique_ptr<flow::H2Link>(std::unique_ptr<flow::Duplex>)>;

  PoolMember(io::Loop& loop, io::Resolver& resolver, PoolOwner& owner, const TcpWayOptions& way,
             Make make);

 private:
  void on_way(Result<std::unique_ptr<flow::Duplex>> stream);
  void on_deadline() { owner_.on_member_failed(*this); }

  void on_up() override;
  void on_control(Bytes) override {}
  void on_stream_opened(flow::CarrierStream) override {}
  void on_stream_readable(flow::CarrierStream) override {}
  void on_stream_reset(flow::CarrierStream, std::uint64_t) override {}
  void on_stream_closed(flow::CarrierStream) override {}
  void on_path_changed(const Address&) override {}
  void on_down(const flow::CarrierDown&) override { owner_.on_member_failed(*this); }

  PoolOwner& owner_;
  Make make_;
  TcpWay way_;
  std::unique_ptr<flow::H2Link> link_;
  io::Timer deadline_;
};

}  // namespace adit::service
