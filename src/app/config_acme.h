// The keys of certificates by ACME, alike for a relay and an agent. Internal to the configuration's
// loaders.
#pragma once

#include <vector>

#include "app/config_keys.h"

namespace adit::app {

template <class Config>
Key<Config> acme_text_key(const char* name, const char* metavar, const char* help,
                          std::string AcmeConfig::*member, const char* fallback = "") {
  return text_key<Config>({"acme", name, metavar, help, Shape::Scalar, fallback},
                          [member](auto& c) -> auto& { return c.acme.*member; });
}

// What is checked for both: see check_acme.
std::optional<std::string> read_acme_name(const Node& node, std::string_view path, Reading& r);

template <class Config>
void add_acme_keys(std::vector<Key<Config>>& keys, const char* domain_help) {
  const auto text = [&keys](const char* name, const char* metavar, const char* help,
                            std::string AcmeConfig::*member, const char* fallback = "") {
    keys.push_back(acme_text_key<Config>(name, metavar, help, member, fallback));
  };
  keys.push_back(list_key<Config>({"acme", "domain", "NAME", domain_help, Shape::List},
                                  [](auto& c) -> auto& { return c.acme.domains; }, read_acme_name,
                                  [](const std::string& name) { return Node{name, {}}; }));
  text("email", "ADDRESS", "contact that the ACME server is told", &AcmeConfig::email);
  keys.push_back(switch_key<Config>(
      {"acme", "staging", "", "take Let's Encrypt's staging server: certificates for tests"},
      [](auto& c) -> auto& { return c.acme.staging; }));
  keys.push_back(number_key<Config>(
      {"acme", "renew_days", "N", "renew so many days before the end; 0: a third of the lifetime"},
      [](auto& c) -> auto& { return c.acme.renew_days; }, 0, 3650));
  text("creds_path", "FILE", "accounts with ACME servers", &AcmeConfig::creds_path,
       "acme_accounts.json in the state directory");
  text("directory", "URL", "directory of the ACME server", &AcmeConfig::directory,
       "Let's Encrypt's");
  text("ca", "FILE", "PEM file of the CAs that may vouch for the ACME server", &AcmeConfig::ca,
       "the system's");
  text("eab_kid", "ID", "external account binding: the key's id", &AcmeConfig::eab_kid);
  text("eab_key_file", "FILE", "external account binding: file with the key, base64url",
       &AcmeConfig::eab_key_file);
  keys.push_back(choice_key<Config>(
      {"acme", "challenge", "KIND", "tls-alpn-01, http-01 or dns-01; wildcards need the last"},
      [](auto& c) -> auto& { return c.acme.challenge; },
      {"tls-alpn-01", "http-01", "dns-01"}));
  text("dns_hook", "PROGRAM", "for dns-01: run as PROGRAM add|remove _acme-challenge.NAME VALUE",
       &AcmeConfig::dns_hook);
  keys.push_back(Key<Config>{
      {"acme", "http_listen", "ADDRESS", "for http-01: where to answer", Shape::Scalar, ":80"},
      [](Config& c, const Node& n, Reading& r) {
        if (const auto v = r.parsed(n, "acme.http_listen", Address::parse)) c.acme.http_listen = *v;
      },
      [](const Config& c) {
        return c.acme.http_listen ? Node{c.acme.http_listen->text(), {}} : Node{};
      }});
}

void check_acme(const AcmeConfig& acme, Reading& reading);

}  // namespace adit::app
