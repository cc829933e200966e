#include "app/config_acme.h"

#include "proto/http/url.h"
#include "route/name.h"

namespace adit::app {

std::optional<std::string> read_acme_name(const Node& node, std::string_view path, Reading& r) {
  return r.parsed(node, path, route::parse_pattern);
}

void check_acme(const AcmeConfig& acme, Reading& r) {
  const auto fault = [&r](const char* key, std::string what, std::string hint = {}) {
    const std::string path = std::string("acme.") + key;
    r.fault(r.place(path), path, std::move(what), std::move(hint));
  };
  if (!acme.directory.empty()) {
    if (auto url = http::parse_https_url(acme.directory); !url)
      fault("directory", url.error().what);
    if (acme.staging)
      fault("staging", "there is another ACME server in directory", "give one of the two");
  }
  if (acme.eab_kid.empty() != acme.eab_key_file.empty()) {
    const bool lone_key = acme.eab_kid.empty();
    fault(lone_key ? "eab_key_file" : "eab_kid", "eab_kid and eab_key_file belong together",
          "give both or none");
  }
  const bool dns = acme.challenge == AcmeChallengeWord::Dns;
  if (dns && acme.dns_hook.empty())
    fault("challenge", "dns-01 needs a program that makes TXT records", "give --acme-dns-hook");
  if (!dns && !acme.dns_hook.empty())
    fault("dns_hook", "it is for the challenge dns-01 only", "give --acme-challenge dns-01");
  if (acme.http_listen && acme.challenge != AcmeChallengeWord::Http)
    fault("http_listen", "it is for the challenge http-01 only", "give --acme-challenge http-01");
  for (const std::string& name : acme.domains)
    if (name.starts_with("*.") && !dns)
      fault("domain", "\"" + name + "\": a wildcard needs the challenge dns-01");
}

}  // namespace adit::app
