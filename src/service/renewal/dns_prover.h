// DNS-01 by a program of the operator's: PROGRAM add|remove _acme-challenge.NAME VALUE. It returns
// when the TXT record can be asked for; one run at a time.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/child.h"
#include "io/loop.h"
#include "service/renewal/prover.h"

namespace adit::service {

class DnsProver final : public Prover {
 public:
  DnsProver(io::Loop& loop, Log& log, std::string program);

  void prove(const std::vector<acme::Proof>& proofs, Done done) override;
  void withdraw(const std::vector<acme::Proof>& proofs) override;

 private:
  struct Run {
    bool add = false;
    std::string name, value;
    Done done;          // set on the last of a prove()
    unsigned group = 0;  // of one prove(); 0: a removal
  };
  static std::string record_of(const acme::Proof& proof);
  void next();
  void on_run_over();
  void on_child(Status status);
  void over(Status status);

  io::Loop& loop_;
  Log& log_;
  const std::string program_;
  std::deque<Run> runs_;  // the first is under way while busy_; bounded by the names of all orders
  bool busy_ = false;
  unsigned groups_ = 0;
  std::unique_ptr<io::Child> child_;
  Status outcome_;
  io::Timer step_;
};

}  // namespace adit::service
