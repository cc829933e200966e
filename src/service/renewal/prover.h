// Shows an ACME server that a name is ours: each kind of challenge has its prover.
#pragma once

#include <vector>

#include "base/delegate.h"
#include "base/result.h"
#include "proto/acme/client.h"

namespace adit::service {

class Prover {
 public:
  // Whether every proof can be seen now. Called once, later in the turn at the earliest.
  using Done = Delegate<void(Status)>;

  virtual ~Prover() = default;
  // `proofs` are put on show until they are withdrawn. One prove() at a time for each caller.
  virtual void prove(const std::vector<acme::Proof>& proofs, Done done) = 0;
  // Also while prove() is not done; it is not told of then.
  virtual void withdraw(const std::vector<acme::Proof>& proofs) = 0;
};

}  // namespace adit::service
