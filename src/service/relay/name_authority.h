// Decides who has which name, for all threads: lives on thread 0, which serialises the claims. What
// it grants is told to every thread before the claimant hears of it, so a visitor that the agent's
// URL brings finds the name wherever it arrives.
#pragma once

#include <vector>

#include "route/name_table.h"
#include "service/tunnel/fabric.h"

namespace adit::service {

// One change of every thread's table, in the order of the authority.
struct NameChange {
  enum class Kind : std::uint8_t { Claim, ReleaseSession };
  Kind kind = Kind::Claim;
  std::string key_id;
  std::uint64_t session = 0;
  std::uint32_t thread = 0;
  std::vector<GrantedName> names;  // Claim
};

void apply(route::NameTable& table, const NameChange& change);

class NameAuthority {
 public:
  struct Outcome {
    ClaimAnswer answer;
    // Sessions that lost names to this claim, with their threads: they end.
    std::vector<route::NameOwner> superseded;
  };
  Outcome claim(const ClaimRequest& request);
  void release(const std::string& key_id, std::uint64_t session);

 private:
  route::NameTable table_;
};

}  // namespace adit::service
