// Certificates by ACME, as the pages of relay and agent show them: of admin_pages.h.
#include "app/admin_pages.h"

namespace adit::app {
namespace {

WallTime at(std::int64_t seconds) { return WallTime{seconds * 1'000'000'000}; }

void write_date(service::JsonWriter& json, std::string_view key, std::int64_t seconds) {
  if (seconds == 0) return json.null(key);
  json.string(key, utc_text(at(seconds)));
}

std::string date(std::int64_t seconds) { return seconds == 0 ? "-" : utc_text(at(seconds)); }

}  // namespace

void write_certificates(service::JsonWriter& json,
                        const std::vector<service::RenewalStatus>& certificates) {
  if (certificates.empty()) return;
  json.begin_array("certificates");
  for (const service::RenewalStatus& c : certificates) {
    json.begin_object();
    json.begin_array("names");
    for (const std::string& name : c.names) json.string(name);
    json.end();
    json.string("state", c.state);
    json.string("directory", c.directory);
    write_date(json, "not_after", c.not_after);
    write_date(json, "renew_at", c.renew_at);
    json.number("failures", c.failures);
    write_date(json, "next_try", c.next_try);
    if (c.trouble.empty()) {
      json.null("trouble");
    } else {
      json.string("trouble", c.trouble);
    }
    json.end();
  }
  json.end();
}

std::string certificates_text(const std::vector<service::RenewalStatus>& certificates) {
  if (certificates.empty()) return {};
  std::vector<std::vector<std::string>> rows{
      {"CERTIFICATE", "STATE", "UNTIL", "RENEWAL", "NEXT TRY", "TROUBLE"}};
  for (const service::RenewalStatus& c : certificates) {
    std::string names = c.names.empty() ? "-" : c.names.front();
    if (c.names.size() > 1) names += " +" + std::to_string(c.names.size() - 1);
    rows.push_back({names, c.state, date(c.not_after), date(c.renew_at), date(c.next_try),
                    c.trouble.empty() ? "-" : c.trouble});
  }
  return table_text(rows) + "\n";
}

}  // namespace adit::app
