// Ports that only a privileged process may bind (below 1024): bound while this one still is, and
// lent out afterwards, to any thread.
//
// One that is not lent serves nobody. A TCP port is bound and does not listen, so a SYN is answered
// by RST; a UDP port, which cannot be bound without receiving, drops what comes, and the sender
// hears nothing, as from a firewall.
#pragma once

#include <atomic>
#include <deque>
#include <utility>

#include "base/address.h"
#include "base/result.h"
#include "io/answer_routing.h"
#include "io/fd.h"
#include "io/loop.h"

namespace adit::io {

// Threads share it without a lock: the list is made before they run, and who has a port is one
// atomic word each.
class BoundPorts {
 public:
  struct Port;
  // The port serves for as long as it lives; its sockets are to be closed before.
  class [[nodiscard]] Lease {
   public:
    Lease() = default;
    Lease(Lease&& o) noexcept : port_(std::exchange(o.port_, nullptr)) {}
    Lease& operator=(Lease&& o) noexcept {
      std::swap(port_, o.port_);
      return *this;
    }
    ~Lease() {
      if (port_ != nullptr) give_back(*port_);
    }

   private:
    friend class BoundPorts;
    Port* port_ = nullptr;
  };

  // At the start, by one thread. EACCES: not permitted; EADDRINUSE: another program has it.
  Status bind(Loop& loop, const Address& at, Transport transport);
  bool has(const Address& at, Transport transport) const;
  // has() it: a socket of it that listens or receives. EADDRINUSE: it is lent already.
  Result<std::pair<Socket, Lease>> take(Loop& loop, const Address& at, Transport transport);

  struct Port {
    Port(const Address& a, Transport t, Fd f) : at(a), transport(t), fd(std::move(f)) {}

    const Address at;
    const Transport transport;
    const Fd fd;
    std::atomic<bool> lent = false;
  };

 private:
  static void give_back(Port& port);

  std::deque<Port> ports_;  // grows at the start only
};

}  // namespace adit::io
