// One link of an uplink: its UDP socket, its QUIC connection, the control channel. When nothing
// comes back it moves to a fresh socket (a new address, or a NAT that forgot us) before it gives
// up.
#pragma once

#include <memory>
#include <optional>

#include "flow/quic_link.h"
#include "io/loop.h"
#include "proto/link/frames.h"
#include "proto/link/messages.h"
#include "proto/link/state.h"
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
  // Null before WELCOME.
  virtual Session* session_of(UplinkLink& link) = 0;
  // The last call; the link may be destroyed in it.
  virtual void on_link_down(UplinkLink& link, const flow::CarrierDown& down) = 0;

 protected:
  ~UplinkOwner() = default;
};

struct UplinkLinkOptions {
  const crypto::TlsContext& tls;
  std::string server_name;
  Address relay;
  // First byte of the connection id, so that a link that resumes reaches the session's thread.
  std::optional<std::uint8_t> affinity;
  std::uint64_t random_seed = 0;
};

class UplinkLink final : private flow::CarrierListener, private flow::DatagramPort {
 public:
  static Result<std::unique_ptr<UplinkLink>> open(io::Loop& loop, UplinkOwner& owner,
                                                  const UplinkLinkOptions& options);
  ~UplinkLink();

  flow::Carrier& carrier() { return *quic_; }
  const flow::Carrier& carrier() const { return *quic_; }
  bool live() const {
    return state_ == link::LinkState::Live || state_ == link::LinkState::Draining;
  }
  // Also after it is closed: whether it ever was.
  bool handshake_done() const { return handshake_done_; }
  const link::Refused* refused() const { return refused_ ? &*refused_ : nullptr; }
  void close(link::CloseCode code, std::string_view reason);

 private:
  UplinkLink(io::Loop& loop, UplinkOwner& owner, io::Socket socket, const Address& relay);

  // DatagramPort
  Result<std::size_t> send(const quic::Outgoing& batch) override;
  void wait_writable(flow::QuicLink& link) override;
  void on_writable(const io::Completion& c);
  void on_datagrams(const io::Completion& c);

  void on_up() override;
  void on_control(Bytes bytes) override;
  void on_stream_opened(flow::CarrierStream id) override;
  void on_stream_readable(flow::CarrierStream id) override;
  void on_stream_reset(flow::CarrierStream id, std::uint64_t code) override;
  void on_stream_closed(flow::CarrierStream id) override;
  void on_path_changed(const Address&) override {}
  void on_down(const flow::CarrierDown& down) override;

  Status on_frame(const link::Frame& frame);
  void on_deadline();
  void on_watch();
  Status move_socket();

  io::Loop& loop_;
  UplinkOwner& owner_;
  const Address relay_;
  Address local_;
  io::Socket socket_;
  io::Socket old_socket_;                    // after a move, until its receive has ended
  io::Op receive_;
  io::Op writable_;
  std::unique_ptr<flow::QuicLink> quic_;
  link::LinkState state_ = link::LinkState::Handshake;
  bool handshake_done_ = false;
  link::FrameReader frames_;
  std::vector<flow::CarrierStream> early_;   // streams that overtook WELCOME
  std::optional<link::Refused> refused_;
  io::Timer deadline_;                       // of the handshake and of WELCOME
  io::Timer watch_;                          // for an answer to what was sent
  Duration move_wait_;
};

}  // namespace adit::service
