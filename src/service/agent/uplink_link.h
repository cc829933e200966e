// One link of an uplink: the way to the relay over one carrier, and the control channel on it.
#pragma once

#include <memory>
#include <optional>

#include "flow/carrier.h"
#include "flow/h2_pool.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "proto/link/frames.h"
#include "proto/link/messages.h"
#include "proto/link/state.h"
#include "service/agent/link_tls.h"
#include "service/agent/pool_member.h"
#include "service/agent/quic_port.h"
#include "service/agent/relay_trust.h"
#include "service/agent/tcp_way.h"
#include "service/tunnel/session.h"

namespace adit::service {

class UplinkLink;

class UplinkOwner {
 public:
  // The handshake is done: whether this is our relay. An error closes the link.
  virtual Status on_peer_key(UplinkLink& link) = 0;
  virtual link::Hello make_hello(UplinkLink& link) = 0;
  // An error is the relay's fault.
  virtual Status on_welcome(UplinkLink& link, const link::Welcome& welcome) = 0;
  virtual void on_refused(UplinkLink& link, const link::Refused& refused) = 0;
  // The JOIN of a further connection; an error where the relay on it is another, or there is no
  // session.
  virtual Result<link::Join> make_join(UplinkLink& link, flow::H2Link& connection) = 0;
  // Null before WELCOME.
  virtual Session* session_of(UplinkLink& link) = 0;
  // The relay says that the carrier holds up what it sends, at so many bytes a second.
  virtual void on_relay_strained(UplinkLink& link, std::uint64_t rate) = 0;
  // Nothing comes back over the carrier, while the link is live.
  virtual void on_suspect(UplinkLink& link) = 0;
  // The last call; the link may be destroyed in it.
  virtual void on_link_down(UplinkLink& link, const flow::CarrierDown& down) = 0;

 protected:
  ~UplinkOwner() = default;
};

struct UplinkLinkOptions {
  LinkCarrier kind = LinkCarrier::Quic;
  const crypto::TlsContext& tls;  // for this kind
  RelayTrust::Mode trust = RelayTrust::Mode::ByKey;  // what `tls` verifies
  std::string server_name;
  HostPort host;                  // as the user named the relay
  Address relay;
  // TCP only.
  const flow::HttpProxy* proxy = nullptr;
  const crypto::TlsContext* https = nullptr;  // Ws
  // The thread that has the session, so that a link that resumes it gets there.
  std::optional<std::uint8_t> affinity{};
  std::uint64_t random_seed = 0;
  std::size_t connections = 1;                // over TCP
};

class UplinkLink final : private flow::CarrierListener, private PoolOwner {
 public:
  static Result<std::unique_ptr<UplinkLink>> open(io::Loop& loop, io::Resolver& resolver,
                                                  UplinkOwner& owner,
                                                  const UplinkLinkOptions& options);
  ~UplinkLink();

  LinkCarrier kind() const { return options_.kind; }
  RelayTrust::Mode trust() const { return options_.trust; }
  const Address& address() const { return options_.relay; }
  flow::Carrier& carrier() { return *carrier_; }  // from the handshake on
  const flow::Carrier& carrier() const { return *carrier_; }
  bool live() const {
    return state_ == link::LinkState::Live || state_ == link::LinkState::Draining;
  }
  // False: something was sent over QUIC behind which nothing has come back.
  bool answered() const { return port_ == nullptr || port_->answered(); }
  // Since when nothing has come back for what was sent; never(): all is well.
  Instant unanswered_since() const;
  // Also after it is closed: whether it ever was.
  bool handshake_done() const { return handshake_done_; }
  const link::Refused* refused() const { return refused_ ? &*refused_ : nullptr; }
  // Its end says nothing about its way: another one was first.
  void outrun() { outrun_ = true; }
  bool was_outrun() const { return outrun_; }
  void close(link::CloseCode code, std::string_view reason);
  // The network has changed. QUIC moves by itself; true: this goes by TCP, and the relay would be
  // reached by another address of ours now.
  bool network_changed();

 private:
  UplinkLink(io::Loop& loop, io::Resolver& resolver, UplinkOwner& owner,
             const UplinkLinkOptions& options);

  Status open_quic();
  TcpWayOptions way_options() const;
  void open_tcp();
  std::unique_ptr<flow::H2Link> make_connection(std::unique_ptr<flow::Duplex> stream);
  void on_way(Result<std::unique_ptr<flow::Duplex>> stream);
  void fail_before_carrier(std::string_view why);
  // Further connections, as many as are missing.
  void grow();
  Result<ByteVector> join_frame(flow::H2Link& link) override;
  void on_joined(PoolMember& member, std::unique_ptr<flow::H2Link> link) override;
  void on_member_failed(PoolMember& member) override;

  void on_up() override;
  void on_control(Bytes bytes) override;
  void on_stream_opened(flow::CarrierStream id) override;
  void on_stream_readable(flow::CarrierStream id) override;
  void on_stream_reset(flow::CarrierStream id, std::uint64_t code) override;
  void on_stream_closed(flow::CarrierStream id) override;
  void on_datagram(Bytes datagram) override;
  void on_path_changed(const Address&) override {}
  void on_down(const flow::CarrierDown& down) override;

  Status on_frame(const link::Frame& frame);
  void on_deadline();
  void on_suspect() { owner_.on_suspect(*this); }

  io::Loop& loop_;
  io::Resolver& resolver_;
  UplinkOwner& owner_;
  const UplinkLinkOptions options_;
  std::optional<std::uint8_t> affinity_;     // the session's thread, as far as it is known
  std::unique_ptr<QuicPort> port_;           // below carrier_, over QUIC
  std::optional<IpAddress> source_;          // of ours, over TCP to the relay itself
  std::unique_ptr<TcpWay> way_;              // before carrier_, over TCP
  std::unique_ptr<flow::Carrier> carrier_;
  flow::H2Pool* pool_ = nullptr;             // the carrier, over TCP
  std::vector<std::unique_ptr<PoolMember>> members_;  // on their way into it
  io::Timer grow_;
  std::string failure_;                      // before there was a carrier
  link::LinkState state_ = link::LinkState::Handshake;
  bool handshake_done_ = false;
  bool outrun_ = false;
  link::FrameReader frames_;
  std::vector<flow::CarrierStream> early_;   // streams that overtook WELCOME
  std::optional<link::Refused> refused_;
  io::Timer deadline_;                       // of the handshake and of WELCOME
};

}  // namespace adit::service
