// A connected UDP socket toward a server whose name has to be looked up first. What is sent before
// waits a moment, the oldest giving way.
#pragma once

#include <deque>
#include <optional>

#include "base/address.h"
#include "base/bytes.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "io/resolver.h"

namespace adit::service {

class UdpClientListener {
 public:
  virtual void on_server_datagram(Bytes payload) = 0;
  // No address, or none that a socket can be connected to: the last call; the client may be
  // destroyed in it.
  virtual void on_server_failed(const Error& why) = 0;
  // The server's host says that nobody listens there, or the kernel that there is no way. It may be
  // otherwise with the next datagram.
  virtual void on_server_unreachable(const Error& why) = 0;

 protected:
  ~UdpClientListener() = default;
};

class UdpClient {
 public:
  // `unsent` counts what the kernel did not take.
  // `as`: an address of somebody else's to come from (UdpOptions::foreign).
  UdpClient(io::Loop& loop, io::Resolver& resolver, const HostPort& to, Counter& unsent,
            UdpClientListener& listener, const std::optional<Address>& as = {});

  void send(Bytes payload);

 private:
  void on_resolved(const Result<std::vector<Address>>& addresses);
  Status connect(const Address& to);
  void receive() { loop_.receive_datagrams(receive_, socket_); }
  void on_datagrams(const io::Completion& c);

  io::Loop& loop_;
  const std::optional<Address> as_;
  Counter& unsent_;
  UdpClientListener& listener_;
  std::deque<ByteVector> early_;
  io::ResolveRequest request_;
  io::Socket socket_;
  io::Op receive_;
  io::Timer again_;
};

}  // namespace adit::service
