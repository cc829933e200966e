// One link of an agent, at the relay: handshake, HELLO, the grant, then frames between the carrier
// and the session that it carries. States are link::LinkState; in Handshake, Greeting and Granting
// the deadline runs.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/list.h"
#include "crypto/key.h"
#include "flow/carrier.h"
#include "io/loop.h"
#include "proto/link/frames.h"
#include "proto/link/messages.h"
#include "proto/link/state.h"

namespace adit::service {

class RelaySession;
class Tunnel;

class RelayLink final : public flow::CarrierListener, public ListNode<RelayLink> {
 public:
  RelayLink(Tunnel& tunnel, std::unique_ptr<flow::Carrier> carrier, Instant deadline);
  ~RelayLink();

  flow::Carrier& carrier() { return *carrier_; }
  const crypto::KeyId& key() const { return key_; }
  link::LinkState state() const { return state_; }
  RelaySession* session() { return session_; }

  // --- from the tunnel ---
  // The names are ours: WELCOME goes out, the session is carried.
  void welcome(RelaySession& session, const link::Welcome& welcome);
  void refuse(const link::Refused& refused);
  void go_away(Duration deadline);
  void close(link::CloseCode code, std::string_view reason);
  // JOIN: the connection belongs to another link.
  const std::optional<link::Join>& join() const { return join_; }
  // `connection` of another link is this one's from now on; false: it is not wanted.
  bool add_connection(std::unique_ptr<flow::H2Link> connection);
  // This link is destroyed right after it.
  std::unique_ptr<flow::H2Link> leave_connection();
  // The session is over or has another link; this link only still has to close.
  void leave_session() { session_ = nullptr; }

  void on_up() override;
  void on_control(Bytes bytes) override;
  void on_stream_opened(flow::CarrierStream) override {}  // the carrier refuses them at the relay
  void on_stream_readable(flow::CarrierStream id) override;
  void on_stream_reset(flow::CarrierStream id, std::uint64_t code) override;
  void on_stream_closed(flow::CarrierStream id) override;
  void on_datagram(Bytes datagram) override;
  void on_path_changed(const Address& peer) override;
  void on_down(const flow::CarrierDown& down) override;

 private:
  Status on_frame(const link::Frame& frame);
  Status on_hello(Bytes body);
  Status on_join(Bytes body);
  bool step(link::LinkEvent event);
  void send(link::FrameType type, Bytes body);
  void on_deadline();
  void on_spare();
  void settle();

  Tunnel& tunnel_;
  std::unique_ptr<flow::Carrier> carrier_;
  crypto::KeyId key_;
  link::LinkState state_ = link::LinkState::Handshake;
  link::FrameReader frames_;
  RelaySession* session_ = nullptr;
  bool settled_ = false;
  std::optional<link::Join> join_;
  io::Timer deadline_;
  io::Timer spare_;                  // while there are connections beyond the first
  std::uint64_t stream_before_ = 0;  // the session's next stream when it was set
};

}  // namespace adit::service
