// Certificates by ACME for an agent's services that end TLS here and have none of their own: one
// for each service, for the names that relays grant. The keys stay on this machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/agent/local_service.h"
#include "service/renewal/make_prover.h"
#include "service/renewal/renewal.h"

namespace adit::service {

struct AgentAcme {
  RenewalSettings renewal;         // for all; chain_path and key_pem are filled in
  ProverSettings prover;
  std::string roots_pem_file;      // who may vouch for the ACME server; empty: the system's
  std::optional<flow::HttpProxy> proxy;  // to ask for the ACME server
  std::string folder;              // of the certificates
  std::vector<std::string> only;   // names; empty: all that are granted
};

class AgentCertificates final : private GrantedNames {
 public:
  // `services` outlives it. Errors: the listener of HTTP-01.
  static Result<std::unique_ptr<AgentCertificates>> make(io::Loop& loop, io::Resolver& resolver,
                                                         Log& log, Metrics& metrics,
                                                         AgentAcme settings, std::string key_pem,
                                                         LocalServices& services);
  ~AgentCertificates();

  std::vector<RenewalStatus> status() const;

 private:
  // One service's.
  struct Entry final : CertificateOwner {
    Status on_certificate(const std::string& chain_pem) override {
      return services->set_certificate(service, chain_pem);
    }
    LocalServices* services = nullptr;
    std::size_t service = 0;
    std::unique_ptr<Renewal> renewal;
  };

  AgentCertificates(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics,
                    AgentAcme settings, std::string key_pem, LocalServices& services);
  void on_names(std::size_t service, const std::vector<std::string>& names) override;
  bool is_wanted(const std::string& name) const;
  Entry& entry_of(std::size_t service, const std::string& first_name);

  io::Loop& loop_;
  io::Resolver& resolver_;
  Log& log_;
  Metrics& metrics_;
  const AgentAcme settings_;
  const std::string key_pem_;
  LocalServices& services_;
  std::unique_ptr<Prover> prover_;
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace adit::service
