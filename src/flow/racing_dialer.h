// Connects to a host by name as RFC 8305 says: its addresses, the families in turn, each with a
// head start before the next; the first to answer wins. Whoever dials has a say in which of the
// addresses may be tried, and nothing is looked up again after that.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/list.h"
#include "io/loop.h"
#include "io/resolver.h"

namespace adit::flow {

class RacingDialer {
 public:
  // Called once, as the last thing; the dialer may be destroyed in it. An error's code is the
  // errno of the last attempt, of the look-up, or what `select` gave.
  using Done = Delegate<void(Result<io::Socket>)>;
  // Which of the addresses found may be connected to; an error where none may.
  using Select = Delegate<Result<std::vector<Address>>(const std::vector<Address>&)>;

  static constexpr std::size_t kAttemptsMax = 8;

  RacingDialer(io::Loop& loop, io::Resolver& resolver, Select select, Done done);
  ~RacingDialer();

  // Once. `stagger`: the head start.
  void dial(std::string_view host, std::uint16_t port, Duration stagger, Deadline deadline);

  // Of what was told as an error: it was the name, or the deadline.
  bool resolving() const { return !resolved_; }
  bool out_of_time() const { return out_of_time_; }

 private:
  class Attempt;
  void on_resolved(const Result<std::vector<Address>>& found);
  void try_next();
  void on_stagger() { try_next(); }
  void on_attempt(Attempt& attempt, int result);
  void on_deadline();
  void finish(Result<io::Socket> result);

  io::Loop& loop_;
  Select select_;
  Done done_;
  io::Resolver& resolver_;
  Duration stagger_{};
  bool resolved_ = false, out_of_time_ = false;
  std::vector<Address> addresses_;
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  Error last_;
  io::ResolveRequest request_;
  io::Timer head_start_, deadline_;
};

}  // namespace adit::flow
