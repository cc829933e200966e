// What both real loops share: opening sockets and setting their options, calls that complete at
// once, the clock, the mailbox, and the order of a turn. The loops themselves only start, cancel
// and collect.
#pragma once

#include <memory>

#include "io/datagram.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io/op_table.h"

namespace adit::io {

class PosixLoop : public Loop {
 public:
  void turn(Instant until) final;
  bool post(std::unique_ptr<Message> message) final { return mailbox_->post(std::move(message)); }
  WallTime wall_time() const final;

  Result<Socket> listen_tcp(const Address& at, const ListenOptions& options) final;
  Result<Socket> open_tcp(const Address& toward) final;
  Status bind_foreign(const Socket& s, const Address& at) final;
  Result<std::pair<Socket, Socket>> stream_pair() final;
  Result<Socket> open_udp(const Address& at, const UdpOptions& options) final;
  Address local_address(const Socket& s) const final;
  Address peer_address(const Socket& s) const final;
  void shutdown_write(const Socket& s) final;
  void abort_on_close(const Socket& s) final;
  Status connect_udp(const Socket& s, const Address& to) final;
  Result<std::size_t> send(const Socket& s, Bytes bytes) final;
  Result<std::size_t> send_datagrams(const Socket& s, const DatagramBatch& batch) final;

 protected:
  // Ignores SIGPIPE in the whole process: splice(2) to a socket has no flag against it.
  explicit PosixLoop(std::unique_ptr<Mailbox> mailbox);

  // Submits what was started, waits until something completes or `until` (not after now(): does not
  // block), and collects, running nothing.
  virtual void wait(Instant until) = 0;
  // Completes what was collected.
  virtual void run_collected() = 0;

  int wake_fd() const { return mailbox_->wake_fd(); }
  // The real time, for time-outs of the wait; handlers see now().
  static Instant clock();

  // Said by accept about a connection that failed meanwhile; the loops go on accepting.
  static bool transient_accept_error(int error);

  OpTable ops_;

 private:
  std::unique_ptr<Mailbox> mailbox_;
  DatagramSender datagrams_;
};

}  // namespace adit::io
