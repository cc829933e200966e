// The prover of a kind of challenge, where its own thread can do it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "io/loop.h"
#include "service/renewal/alpn_answers.h"
#include "service/renewal/prover.h"

namespace adit::service {

struct ProverSettings {
  acme::ChallengeKind kind = acme::ChallengeKind::TlsAlpn;
  Address http_listen;   // Http
  std::string dns_hook;  // Dns: a program
};

// Errors: the address of HTTP-01 cannot be bound. `alpn` is for TLS-ALPN-01 and outlives it.
Result<std::unique_ptr<Prover>> make_prover(io::Loop& loop, Log& log,
                                            const ProverSettings& settings, AlpnAnswers& alpn);

}  // namespace adit::service
