#include "service/agent/agent_certificates.h"

#include <algorithm>

#include "crypto/random.h"

namespace adit::service {

Result<std::unique_ptr<AgentCertificates>> AgentCertificates::make(
    io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics, AgentAcme settings,
    std::string key_pem, LocalServices& services) {
  std::unique_ptr<AgentCertificates> out(new AgentCertificates(
      loop, resolver, log, metrics, std::move(settings), std::move(key_pem), services));
  auto prover = make_prover(loop, log, out->settings_.prover, services.alpn_answers());
  if (!prover) return std::move(prover).error();
  out->prover_ = std::move(*prover);
  services.set_listener(static_cast<GrantedNames*>(out.get()));
  return out;
}

AgentCertificates::AgentCertificates(io::Loop& loop, io::Resolver& resolver, Log& log,
                                     Metrics& metrics, AgentAcme settings, std::string key_pem,
                                     LocalServices& services)
    : loop_(loop),
      resolver_(resolver),
      log_(log),
      metrics_(metrics),
      settings_(std::move(settings)),
      key_pem_(std::move(key_pem)),
      services_(services) {}

AgentCertificates::~AgentCertificates() {
  services_.set_listener(nullptr);
  entries_.clear();  // they withdraw what the prover shows
}

bool AgentCertificates::is_wanted(const std::string& name) const {
  const auto& only = settings_.only;
  if (!only.empty() && std::ranges::find(only, name) == only.end()) return false;
  // RFC 8737 §1 and RFC 8555 §7.1.3: a wildcard is proven by DNS alone.
  return !name.starts_with("*.") || settings_.prover.kind == acme::ChallengeKind::Dns;
}

void AgentCertificates::on_names(std::size_t service, const std::vector<std::string>& names) {
  std::vector<std::string> wanted;
  for (const std::string& name : names) {
    if (is_wanted(name)) {
      wanted.push_back(name);
    } else {
      log_.info("acme.name_left_out",
                {{"name", name}, {"why", name.starts_with("*.") ? "a wildcard needs dns-01"
                                                                : "not in acme.domain"}});
    }
  }
  if (wanted.empty()) return;
  entry_of(service, wanted.front()).renewal->set_names(std::move(wanted));
}

AgentCertificates::Entry& AgentCertificates::entry_of(std::size_t service,
                                                      const std::string& first_name) {
  for (const auto& entry : entries_)
    if (entry->service == service) return *entry;
  auto entry = std::make_unique<Entry>();
  entry->services = &services_;
  entry->service = service;
  RenewalSettings settings = settings_.renewal;
  std::string file = first_name;
  std::ranges::replace(file, '*', '_');
  settings.chain_path = settings_.folder + "/" + file + ".pem";
  settings.key_pem = key_pem_;
  settings.seed = crypto::random_u64();
  entry->renewal = std::make_unique<Renewal>(
      loop_, log_, metrics_, std::move(settings),
      std::make_unique<HttpsFetcher>(loop_, resolver_, settings_.roots_pem_file, settings_.proxy),
      *prover_,
      *entry);
  entries_.push_back(std::move(entry));
  return *entries_.back();
}

std::vector<RenewalStatus> AgentCertificates::status() const {
  std::vector<RenewalStatus> out;
  for (const auto& entry : entries_) out.push_back(entry->renewal->status());
  return out;
}

}  // namespace adit::service
