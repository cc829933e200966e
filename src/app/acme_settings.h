// From configuration to what renewals run on.
#pragma once

#include <string>

#include "app/config.h"
#include "base/result.h"
#include "service/agent/agent_certificates.h"
#include "service/renewal/make_prover.h"
#include "service/renewal/renewal.h"

namespace adit::app {

// Without chain_path and key_pem. Errors: the key of the external account binding.
Result<service::RenewalSettings> make_renewal_settings(const AcmeConfig& acme,
                                                       const std::string& account_path);
service::ProverSettings make_prover_settings(const AcmeConfig& acme);
Result<service::AgentAcme> make_agent_acme(const AgentConfig& config);

}  // namespace adit::app
