// The relay's own certificate by ACME: issued and renewed on thread 0, shown on every thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/relay_settings.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/relay/relay_thread.h"
#include "service/renewal/make_prover.h"
#include "service/renewal/renewal.h"

namespace adit::app {

class RelayAcme final : private service::CertificateOwner, private service::Prover {
 public:
  // `threads` outlives it. On thread 0, whose index is 0.
  static Result<std::unique_ptr<RelayAcme>> make(io::Loop& loop, io::Resolver& resolver, Log& log,
                                                 const service::RelayThreads& threads,
                                                 const RelayConfig& config,
                                                 const RelayIdentity& identity);
  ~RelayAcme() override;

  // When every thread listens: a certificate on disk is taken, or one is ordered.
  void start();
  std::vector<service::RenewalStatus> status() const { return {renewal_->status()}; }
  bool has_certificate() const { return renewal_->has_certificate(); }

 private:
  RelayAcme(io::Loop& loop, const service::RelayThreads& threads, const RelayConfig& config,
            const RelayIdentity& identity);
  Status on_certificate(const std::string& chain_pem) override;
  void prove(const std::vector<acme::Proof>& proofs, Done done) override;
  void withdraw(const std::vector<acme::Proof>& proofs) override;
  void on_shown(unsigned round, const std::string& trouble);
  void on_late();

  io::Loop& loop_;
  const service::RelayThreads& threads_;
  const std::vector<std::string> names_;
  RelayIdentity identity_;
  std::unique_ptr<service::Prover> other_prover_;  // HTTP-01 and DNS-01
  // TLS-ALPN-01: threads that have not said yet that they show the challenges of this round.
  unsigned round_ = 0;
  std::size_t missing_ = 0;
  std::string trouble_;
  Done done_;
  io::Timer late_;
  std::unique_ptr<service::Renewal> renewal_;      // goes before the provers
};

}  // namespace adit::app
