// HTTP-01 (RFC 8555 §8.3): a small HTTP server that answers for the tokens on show, and for nothing
// else.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/loop.h"
#include "service/edge/owned_list.h"
#include "service/renewal/prover.h"

namespace adit::service {

class HttpVisit;

class HttpProver final : public Prover {
 public:
  HttpProver(io::Loop& loop, Log& log);
  ~HttpProver() override;

  Status listen(const Address& at);
  void prove(const std::vector<acme::Proof>& proofs, Done done) override;
  void withdraw(const std::vector<acme::Proof>& proofs) override;

 private:
  friend class HttpVisit;
  void on_accepted(const io::Completion& c);
  void start() { loop_.accept(accept_, listener_); }
  void on_told();

  io::Loop& loop_;
  Log& log_;
  io::Socket listener_;
  io::Op accept_;
  io::Timer pause_;
  io::Timer told_;
  std::vector<Done> waiting_;
  std::map<std::string, std::string, std::less<>> answers_;  // by path
  OwnedList<HttpVisit> visits_;
};

}  // namespace adit::service
