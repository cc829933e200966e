#include "service/renewal/make_prover.h"

#include "service/renewal/dns_prover.h"
#include "service/renewal/http_prover.h"

namespace adit::service {

Result<std::unique_ptr<Prover>> make_prover(io::Loop& loop, Log& log,
                                            const ProverSettings& settings, AlpnAnswers& alpn) {
  std::unique_ptr<Prover> out;
  switch (settings.kind) {
    case acme::ChallengeKind::TlsAlpn: out = std::make_unique<AlpnProver>(loop, alpn); break;
    case acme::ChallengeKind::Dns:
      out = std::make_unique<DnsProver>(loop, log, settings.dns_hook);
      break;
    case acme::ChallengeKind::Http: {
      auto http = std::make_unique<HttpProver>(loop, log);
      if (Status bound = http->listen(settings.http_listen); !bound)
        return std::move(bound).error();
      out = std::move(http);
      break;
    }
  }
  return out;
}

}  // namespace adit::service
