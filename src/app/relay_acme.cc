#include "app/relay_acme.h"

#include <cerrno>
#include <utility>

#include "app/acme_settings.h"

namespace adit::app {

namespace {
constexpr Duration kShownDeadline = 10s;  // for all threads to take a challenge
}  // namespace

Result<std::unique_ptr<RelayAcme>> RelayAcme::make(io::Loop& loop, io::Resolver& resolver,
                                                   Log& log, const service::RelayThreads& threads,
                                                   const RelayConfig& config,
                                                   const RelayIdentity& identity) {
  std::unique_ptr<RelayAcme> out(new RelayAcme(loop, threads, config, identity));
  auto settings = make_renewal_settings(config.acme, config.state_dir + "/acme_accounts.json");
  if (!settings) return std::move(settings).error();
  settings->chain_path = config.state_dir + "/acme/relay.pem";
  settings->key_pem = identity.key_pem;
  service::RelayThread& thread = *threads.entries[0].thread;
  service::Prover* prover = out.get();
  if (settings->challenge != acme::ChallengeKind::TlsAlpn) {
    auto made =
        service::make_prover(loop, log, make_prover_settings(config.acme), thread.alpn_answers());
    if (!made) return std::move(made).error();
    out->other_prover_ = std::move(*made);
    prover = out->other_prover_.get();
  }
  out->renewal_ = std::make_unique<service::Renewal>(
      loop, log, thread.metrics(), std::move(*settings),
      std::make_unique<service::HttpsFetcher>(loop, resolver, config.acme.ca, std::nullopt),
      *prover,
      static_cast<service::CertificateOwner&>(*out));
  return out;
}

RelayAcme::RelayAcme(io::Loop& loop, const service::RelayThreads& threads,
                     const RelayConfig& config, const RelayIdentity& identity)
    : loop_(loop),
      threads_(threads),
      names_(config.acme.domains),
      identity_(identity),
      late_(loop, Delegate<void()>::to<&RelayAcme::on_late>(this)) {}

RelayAcme::~RelayAcme() = default;

void RelayAcme::start() { renewal_->set_names(names_); }

Status RelayAcme::on_certificate(const std::string& chain_pem) {
  RelayIdentity identity = identity_;
  identity.certificate_pem = chain_pem;
  identity.self_signed = false;
  std::vector<std::unique_ptr<service::LinkTls>> made;
  for (std::size_t i = 0; i < threads_.entries.size(); ++i) {
    auto tls = make_link_tls(identity);
    if (!tls) return std::move(tls).error();
    made.push_back(std::make_unique<service::LinkTls>(std::move(*tls)));
  }
  for (std::uint32_t i = 0; i < made.size(); ++i) {
    const bool posted = service::RelayThread::post(
        threads_, i, [tls = std::move(made[i])](service::RelayThread& t) mutable {
          t.set_link_tls(std::move(tls));
        });
    if (!posted) return Error{EAGAIN, "a thread takes no messages"};
  }
  identity_ = std::move(identity);
  return {};
}

// The server may come to any thread, so all of them have to know before it is asked to come.
void RelayAcme::prove(const std::vector<acme::Proof>& proofs, Done done) {
  const unsigned round = ++round_;
  done_ = done;
  trouble_.clear();
  missing_ = threads_.entries.size();
  late_.set(loop_.now() + kShownDeadline);
  std::vector<service::AlpnChallenge> challenges;
  for (const acme::Proof& proof : proofs) {
    auto made = service::make_alpn_challenge(proof, loop_.wall_time());
    if (made) {
      challenges.push_back(std::move(*made));
    } else {
      trouble_ = made.error().what;
    }
  }
  for (std::uint32_t i = 0; i < threads_.entries.size(); ++i) {
    service::RelayThread::post(threads_, i, [this, round, challenges](service::RelayThread& t) {
      std::string trouble;
      for (const service::AlpnChallenge& c : challenges)
        if (Status shown = t.alpn_answers().show(c); !shown) trouble = shown.error().what;
      // This object is thread 0's: it is only spoken to there.
      service::RelayThread::post(threads_, 0, [this, round, trouble](service::RelayThread&) {
        on_shown(round, trouble);
      });
    });
  }
}

void RelayAcme::on_shown(unsigned round, const std::string& trouble) {
  if (round != round_ || missing_ == 0) return;
  if (!trouble.empty()) trouble_ = trouble;
  if (--missing_ > 0) return;
  late_.stop();
  done_(trouble_.empty() ? Status() : Status(Error{EINVAL, trouble_}));
}

void RelayAcme::on_late() {
  missing_ = 0;
  done_(Error{ETIMEDOUT, "not every thread took the challenge"});
}

void RelayAcme::withdraw(const std::vector<acme::Proof>& proofs) {
  ++round_;  // what is still said of it is not listened to
  missing_ = 0;
  late_.stop();
  std::vector<std::string> names;
  for (const acme::Proof& proof : proofs) names.push_back(proof.name);
  for (std::uint32_t i = 0; i < threads_.entries.size(); ++i) {
    service::RelayThread::post(threads_, i, [names](service::RelayThread& t) {
      for (const std::string& name : names) t.alpn_answers().hide(name);
    });
  }
}

}  // namespace adit::app
