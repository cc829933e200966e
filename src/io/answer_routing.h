// Policy routing (ip-rule(8)) for sockets that are bound to somebody else's address: a service
// that sees its visitor's own address answers to it, and these answers have to be delivered here
// instead of being sent away.
//
// A rule catches the answers of one service, by its address, protocol and ports, and looks them up
// in a table of its own; who is in that table is delivered to this machine. All others' packets go
// the way they always went. Rules and routes bear kRouteProtocol, and their tables a number that
// only one running process has: what a process that was killed has left behind is removed by the
// next that starts. Linux 4.17.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/address.h"
#include "base/port_range.h"
#include "base/result.h"
#include "io/fd.h"

namespace adit::io {

// Beside the kernel's own and those of routing daemons (/etc/iproute2/rt_protos).
inline constexpr std::uint8_t kRouteProtocol = 173;

enum class Transport : std::uint8_t { Tcp, Udp };

// The answers of one local service.
struct AnswerRule {
  Transport transport = Transport::Tcp;
  IpAddress service;
  PortRange ports;
  bool operator==(const AnswerRule&) const = default;
};

// What a table delivers here; apart, so that tests may have one without a kernel.
class AnswerRoutes {
 public:
  virtual ~AnswerRoutes() = default;
  // Answers to `visitor`. Those of a socket that is bound to no address get `service` as theirs,
  // where it is one of this machine.
  virtual Status add_visitor(std::uint32_t table, const IpAddress& visitor,
                             const IpAddress& service) = 0;
  virtual void remove_visitor(std::uint32_t table, const IpAddress& visitor) = 0;
};

class AnswerRouting final : public AnswerRoutes {
 public:
  static constexpr unsigned kTables = 1024;  // of one process

  // Removes what processes have left behind that run no longer. EPERM: not permitted
  // (CAP_NET_ADMIN); the capability is needed for as long as the object lives.
  static Result<std::unique_ptr<AnswerRouting>> open();
  // Nothing of it stays.
  ~AnswerRouting() override;
  AnswerRouting(const AnswerRouting&) = delete;
  AnswerRouting& operator=(const AnswerRouting&) = delete;

  // `index` < kTables.
  std::uint32_t table(unsigned index) const;
  Status add_rule(std::uint32_t table, const AnswerRule& rule);
  // Answers to whomever. For services whose answers to others never leave by themselves: those at
  // a loopback address.
  Status add_everybody(std::uint32_t table, bool v4);
  Status add_visitor(std::uint32_t table, const IpAddress& visitor,
                     const IpAddress& service) override;
  void remove_visitor(std::uint32_t table, const IpAddress& visitor) override;

  // Whether all this works here: a listener on loopback is connected to from an address of
  // documentation (RFC 5737, RFC 3849), and has to see that one. Blocking, for a moment.
  Status prove(bool v4);

 private:
  struct Netlink;
  AnswerRouting(std::unique_ptr<Netlink> netlink, unsigned slot, Fd lock);
  Status prove_at(const Address& visitor, const IpAddress& loopback);
  void remove_own();
  void remove_leftovers();

  std::unique_ptr<Netlink> netlink_;
  const unsigned slot_;
  Fd lock_;  // held by the kernel for as long as we live
};

// Binds an unconnected socket to an address that need not be this machine's (IP_TRANSPARENT,
// ip(7)). The port is taken where it can be; else (TCP, and ports that need a privilege) the kernel
// chooses one. For io's own sockets.
Status bind_to_foreign(int fd, const Address& address, Transport transport);

}  // namespace adit::io
