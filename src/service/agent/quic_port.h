// The UDP socket below an agent's QUIC link. When nothing comes back for what was sent it moves to
// a fresh socket: a new address, or a NAT that forgot us.
#pragma once

#include <memory>

#include "flow/quic_link.h"
#include "io/loop.h"

namespace adit::service {

// By which address of ours packets to `relay` leave. ENETUNREACH and the like: by none.
Result<IpAddress> source_toward(io::Loop& loop, const Address& relay);

class QuicPort final : private flow::DatagramPort {
 public:
  static Result<std::unique_ptr<QuicPort>> open(io::Loop& loop, const Address& relay);
  QuicPort(const QuicPort&) = delete;
  QuicPort& operator=(const QuicPort&) = delete;

  // Nothing that was sent waits for an answer.
  bool answered() const { return unanswered_since() == Instant::never(); }
  Instant unanswered_since() const { return link_->connection().unanswered_since(); }
  quic::Path path() const { return {local_, relay_}; }
  // The network has changed: moves where packets to the relay would leave by another address now.
  void look_at_path();
  // Makes the link; it may not outlive the port.
  std::unique_ptr<flow::QuicLink> carry(std::unique_ptr<quic::Connection> connection);
  // Answers are waited for from now on: the link is in use. `suspect` is called when moving to
  // another socket has not brought one either, which may be for want of a network or because this
  // one lets no UDP through.
  void watch(Delegate<void()> suspect) {
    watching_ = true;
    suspect_ = suspect;
  }

 private:
  QuicPort(io::Loop& loop, io::Socket socket, const Address& relay);

  Result<std::size_t> send(const quic::Outgoing& batch) override;
  void wait_writable(flow::QuicLink& link) override;
  void on_writable(const io::Completion& c);
  void on_datagrams(const io::Completion& c);
  void on_watch();
  Status move();

  io::Loop& loop_;
  const Address relay_;
  Address local_;
  io::Socket socket_;
  io::Socket old_socket_;  // after a move, until its receive has ended
  io::Op receive_;
  io::Op writable_;
  io::Timer watch_;        // for an answer to what was sent
  Duration move_wait_;
  bool watching_ = false;
  Delegate<void()> suspect_;
  flow::QuicLink* link_ = nullptr;
};

}  // namespace adit::service
