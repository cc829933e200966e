// TLS-ALPN-01 (RFC 8737) on one thread: the challenges on show, and the visits of validators. A
// visit is a handshake with the challenge's certificate; no byte of data follows it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "flow/duplex.h"
#include "io/loop.h"
#include "proto/acme/client.h"
#include "service/edge/owned_list.h"
#include "service/renewal/prover.h"

namespace adit::service {

// What shows one proof: a certificate with a key made for it alone.
struct AlpnChallenge {
  std::string name, certificate_pem, key_pem;
};
Result<AlpnChallenge> make_alpn_challenge(const acme::Proof& proof, WallTime now);

class AlpnVisit;

class AlpnAnswers {
 public:
  AlpnAnswers(io::Loop& loop, Metrics& metrics);
  ~AlpnAnswers();

  Status show(const AlpnChallenge& challenge);
  void hide(const std::string& name) { contexts_.erase(name); }
  bool has(const std::string& name) const { return contexts_.contains(name); }
  // A validator that asks for a name with an answer; `stream` begins with its hello.
  void serve(const std::string& name, std::unique_ptr<flow::Duplex> stream);
  void abort_all();

 private:
  friend class AlpnVisit;

  io::Loop& loop_;
  Counter& visits_count_;
  std::map<std::string, crypto::TlsContext, std::less<>> contexts_;
  OwnedList<AlpnVisit> visits_;
};

// Proves by answers of the same thread.
class AlpnProver final : public Prover {
 public:
  AlpnProver(io::Loop& loop, AlpnAnswers& answers);

  void prove(const std::vector<acme::Proof>& proofs, Done done) override;
  void withdraw(const std::vector<acme::Proof>& proofs) override;

 private:
  void on_told();

  io::Loop& loop_;
  AlpnAnswers& answers_;
  struct Told {
    Done done;
    Status status;
  };
  std::vector<Told> waiting_;
  io::Timer told_;
};

}  // namespace adit::service
