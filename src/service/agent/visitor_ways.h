// `transparent = true`: local services see each visitor's own address, since the sockets toward
// them are bound to it. Here is which services have that, and what it takes for one visitor; how
// the answers come back is io/answer_routing.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/answer_routing.h"
#include "io/loop.h"
#include "service/agent/visitor_holds.h"

namespace adit::service {

struct LocalServiceSettings;

// Of a service of this host that `to` names: both loopback addresses of "localhost", or the one
// that is written. Errors: another name, whose address nobody knows before the first visitor.
Result<std::vector<IpAddress>> transparent_targets(const HostPort& to);

class VisitorWays {
 public:
  // Null where no service is transparent. Sets up the rules, and tries on loopback whether they do
  // what they should. Errors: not permitted, or a kernel that has no such thing.
  static Result<std::unique_ptr<VisitorWays>> open(
      io::Loop& loop, Log& log, Metrics& metrics,
      const std::vector<LocalServiceSettings>& services);

  // One visitor's connection or flow; the answers come back for as long as it lives.
  class [[nodiscard]] Hold {
   public:
    Hold() = default;
    Hold(Hold&& o) noexcept
        : ways_(std::exchange(o.ways_, nullptr)),
          entry_(std::exchange(o.entry_, nullptr)),
          transport_(o.transport_) {}
    Hold& operator=(Hold&& o) noexcept {
      std::swap(ways_, o.ways_);
      std::swap(entry_, o.entry_);
      std::swap(transport_, o.transport_);
      return *this;
    }
    ~Hold();

   private:
    friend class VisitorWays;
    VisitorWays* ways_ = nullptr;
    VisitorHolds::Entry* entry_ = nullptr;
    io::Transport transport_ = io::Transport::Tcp;
  };
  struct Way {
    HostPort to;  // an address, of the visitor's family
    Address as;   // what the socket is to be bound to
    Hold hold;
  };
  // Of a visitor of a transparent service that leads to `to`. An error: he cannot be presented by
  // his own address, and by another he must not be: the service may trust that one.
  Result<Way> way(io::Transport transport, const HostPort& to, const Address& visitor);

  // "IPv4 and IPv6", "IPv4 only": what visitors of the service may come by.
  std::string families(const LocalServiceSettings& service) const;

 private:
  struct Door {
    io::AnswerRule rule;
    std::uint32_t table = 0;
    bool everybody = false;  // the table needs no visitors
    bool operator==(const Door&) const = default;
  };

  VisitorWays(io::Loop& loop, Metrics& metrics, std::unique_ptr<io::AnswerRouting> routing);
  Status add_doors(Log& log, const HostPort& to, io::Transport transport, std::size_t ports);
  Status add_door(const io::AnswerRule& rule);
  const Door* find(io::Transport transport, const IpAddress& ip, std::uint16_t port) const;
  Status prove(bool v4);
  void release(VisitorHolds::Entry& entry, io::Transport transport);
  void on_timer();

  io::Loop& loop_;
  std::unique_ptr<io::AnswerRouting> routing_;
  std::vector<Door> doors_;
  std::optional<bool> proved_[2];  // by family: tried, and whether it worked
  VisitorHolds holds_;
  io::Timer timer_;
};

}  // namespace adit::service
