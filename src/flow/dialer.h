// Connects to a host by name: resolves, then tries one address after the other until one answers or
// the deadline passes.
#pragma once

#include <optional>
#include <vector>

#include "base/address.h"
#include "io/loop.h"
#include "io/resolver.h"

namespace adit::flow {

class Dialer {
 public:
  // Called once, as the last thing; the dialer may be destroyed in it.
  using Done = Delegate<void(Result<io::Socket>)>;

  Dialer(io::Loop& loop, io::Resolver& resolver, Done done);
  // Once; a second host takes a second dialer. `as`: an address of somebody else's to come from,
  // and a port where that is to be had (Loop::bind_foreign).
  void dial(const HostPort& to, Deadline deadline, const std::optional<Address>& as = {});

 private:
  void on_resolved(const Result<std::vector<Address>>& addresses);
  void try_next();
  Result<io::Socket> open(const Address& to);
  void on_connected(const io::Completion& c);
  void on_deadline();
  void on_attempt_over();
  void fail(Error error);

  io::Loop& loop_;
  io::Resolver& resolver_;
  Done done_;
  Instant deadline_;
  std::optional<Address> as_;
  std::vector<Address> addresses_;
  std::size_t next_ = 0;
  bool done_said_ = false;
  Error last_;
  io::ResolveRequest request_;
  io::Socket socket_;
  io::Op connect_;
  io::Timer timer_;       // of the whole
  io::Timer attempt_;     // of one address, so that one that drops packets leaves time for the next
};

}  // namespace adit::flow
