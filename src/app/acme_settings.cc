#include "app/acme_settings.h"

#include <algorithm>

#include "app/http_proxy.h"
#include "crypto/digest.h"
#include "crypto/key_file.h"
#include "crypto/random.h"
#include "io/port_check.h"
#include "proto/http/url.h"

namespace adit::app {
namespace {

constexpr const char* kProduction = "https://acme-v02.api.letsencrypt.org/directory";
constexpr const char* kStaging = "https://acme-staging-v02.api.letsencrypt.org/directory";
constexpr std::size_t kEabKeyBytesMax = 4096;
constexpr std::uint16_t kHttpPort = 80;

// As CAs show it: base64url without padding (RFC 8555 §7.3.4), which other tools pad.
Result<ByteVector> read_eab_key(const std::string& path) {
  auto text = crypto::read_file(path, kEabKeyBytesMax);
  if (!text) return std::move(text).error();
  std::erase_if(*text, [](char c) { return c == '=' || c == '\n' || c == '\r' || c == ' '; });
  auto key = crypto::base64url_decode(*text);
  if (!key || key->empty()) return Error{EINVAL, path + ": not a key in base64url"};
  return key;
}

acme::ChallengeKind kind_of(AcmeChallengeWord word) {
  switch (word) {
    case AcmeChallengeWord::TlsAlpn: return acme::ChallengeKind::TlsAlpn;
    case AcmeChallengeWord::Http: return acme::ChallengeKind::Http;
    case AcmeChallengeWord::Dns: return acme::ChallengeKind::Dns;
  }
  return acme::ChallengeKind::TlsAlpn;
}

}  // namespace

Result<service::RenewalSettings> make_renewal_settings(const AcmeConfig& acme,
                                                       const std::string& account_path) {
  service::RenewalSettings out;
  out.directory = !acme.directory.empty() ? acme.directory : acme.staging ? kStaging : kProduction;
  out.email = acme.email;
  out.eab_key_id = acme.eab_kid;
  if (!acme.eab_key_file.empty()) {
    auto key = read_eab_key(acme.eab_key_file);
    if (!key) return std::move(key).error().with("acme.eab_key_file");
    out.eab_key = std::move(*key);
  }
  out.challenge = kind_of(acme.challenge);
  out.renew_before = 24h * acme.renew_days;
  out.account_path = acme.creds_path.empty() ? account_path : acme.creds_path;
  out.seed = crypto::random_u64();
  return out;
}

service::ProverSettings make_prover_settings(const AcmeConfig& acme) {
  service::ProverSettings out;
  out.kind = kind_of(acme.challenge);
  out.dns_hook = acme.dns_hook;
  const IpAddress any = io::has_ipv6() ? IpAddress::any6() : IpAddress::any4();
  out.http_listen = acme.http_listen.value_or(Address{any, kHttpPort});
  return out;
}

Result<service::AgentAcme> make_agent_acme(const AgentConfig& config) {
  auto renewal =
      make_renewal_settings(config.acme, config.state_dir + "/agent_acme_accounts.json");
  if (!renewal) return std::move(renewal).error();
  service::AgentAcme out;
  out.renewal = std::move(*renewal);
  out.prover = make_prover_settings(config.acme);
  out.roots_pem_file = config.acme.ca;
  out.folder = config.state_dir + "/agent_acme";
  out.only = config.acme.domains;
  auto directory = http::parse_https_url(out.renewal.directory);
  const bool direct = !directory || bypasses_proxy(config.no_proxy, directory->to.host);
  if (!config.https_proxy.empty() && !direct) {
    auto proxy = parse_http_proxy(config.https_proxy);
    if (!proxy) return std::move(proxy).error();
    out.proxy = std::move(*proxy);
  }
  return out;
}

}  // namespace adit::app
