// A UDP socket of a client, connected to one place: what comes back waits to be fetched, the oldest
// giving way.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/node/buffer_budget.h"
#include "service/node/destination.h"
#include "service/node/client_session.h"

namespace adit::service {

class UdpSession final : public ClientSession {
 public:
  UdpSession(SessionOwner& owner, NodeContext& context, NodeKey& key);
  ~UdpSession() override;

  void open(Destination destination);
  // Before the name is known the datagram waits. Not empty.
  void send(ByteVector datagram);

  bool waiting() const { return !queue_.empty(); }
  std::size_t waiting_datagrams() const { return queue_.size(); }
  bool ended() const { return ended_; }
  // In their order, until `most` bytes are reached; at least one where any waits.
  std::vector<ByteVector> fetch(std::size_t most);

 private:
  void on_resolved(const Result<std::vector<Address>>& found);
  Status connect(const Address& to);
  void on_datagrams(const io::Completion& c);
  void receive() { context_.loop.receive_datagrams(receive_, socket_); }
  void on_trouble();
  void transmit(Bytes datagram);
  void queue(Bytes datagram);
  void shut() override;

  NodeContext& context_;
  std::unique_ptr<Destination> destination_;
  std::deque<ByteVector> early_, queue_;
  std::size_t queue_bytes_ = 0;
  unsigned errors_ = 0;  // in a row
  bool ended_ = false;
  io::ResolveRequest request_;
  io::Socket socket_;
  io::Op receive_;
  io::Timer again_;
};

}  // namespace adit::service
