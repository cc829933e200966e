#include "service/renewal/alpn_answers.h"

#include "base/limits_acme.h"
#include "crypto/acme_certificate.h"
#include "flow/tls_stream.h"
#include "route/router.h"

namespace adit::service {

Result<AlpnChallenge> make_alpn_challenge(const acme::Proof& proof, WallTime now) {
  const crypto::PrivateKey key = crypto::PrivateKey::generate();
  auto pem = crypto::acme_challenge_certificate(key, proof.name, proof.digest, now);
  if (!pem) return std::move(pem).error();
  return AlpnChallenge{proof.name, std::move(*pem), key.to_pkcs8_pem()};
}

// Waits: for the validator to end the connection, or for the deadline.
class AlpnVisit final : public ListNode<AlpnVisit>, private flow::DuplexListener {
 public:
  AlpnVisit(AlpnAnswers& owner, std::unique_ptr<flow::Duplex> stream)
      : owner_(owner),
        stream_(std::move(stream)),
        deadline_(owner.loop_, Delegate<void()>::to<&AlpnVisit::on_deadline>(this)) {}
  ~AlpnVisit() { stream_->set_listener(nullptr); }

  void start() {
    deadline_.set(owner_.loop_.now() + limits::kAcmeChallengeDeadline);
    stream_->set_listener(this);
    stream_->start();
  }

 private:
  // RFC 8737 §3: no data is to follow; what comes all the same is dropped.
  void on_readable() override {
    while (!stream_->readable().empty()) stream_->consume(stream_->readable().size());
    if (!stream_->at_end()) return;
    stream_->finish();
    over();
  }
  void on_writable() override {}
  void on_failed(const Error&) override { over(); }
  void on_deadline() {
    stream_->abort();
    over();
  }
  void over() { owner_.visits_.erase(*this); }

  AlpnAnswers& owner_;
  std::unique_ptr<flow::Duplex> stream_;
  io::Timer deadline_;
};

AlpnAnswers::AlpnAnswers(io::Loop& loop, Metrics& metrics)
    : loop_(loop), visits_count_(metrics.counter("adit_acme_challenge_visits_total")) {}

AlpnAnswers::~AlpnAnswers() { abort_all(); }

void AlpnAnswers::abort_all() { visits_.clear(); }

Status AlpnAnswers::show(const AlpnChallenge& challenge) {
  crypto::ServerTls tls;
  tls.certificate_chain_pem = challenge.certificate_pem;
  tls.private_key_pem = challenge.key_pem;
  tls.alpn = {std::string(route::kAlpnAcme)};
  auto context = crypto::TlsContext::server(tls);
  if (!context) return std::move(context).error();
  contexts_.insert_or_assign(challenge.name, std::move(*context));
  return {};
}

void AlpnAnswers::serve(const std::string& name, std::unique_ptr<flow::Duplex> stream) {
  const auto found = contexts_.find(name);
  CHECK(found != contexts_.end());
  auto session = crypto::TlsSession::server(found->second);
  if (!session) return stream->abort();
  visits_count_.add();
  if (visits_.size() >= limits::kAcmeChallengeVisitsMax) visits_.erase(*visits_.oldest());
  auto tls = std::make_unique<flow::TlsStream>(loop_, std::move(stream), std::move(*session));
  visits_.add(std::make_unique<AlpnVisit>(*this, std::move(tls))).start();
}

AlpnProver::AlpnProver(io::Loop& loop, AlpnAnswers& answers)
    : loop_(loop),
      answers_(answers),
      told_(loop, Delegate<void()>::to<&AlpnProver::on_told>(this)) {}

void AlpnProver::prove(const std::vector<acme::Proof>& proofs, Done done) {
  Status status;
  for (const acme::Proof& proof : proofs) {
    auto challenge = make_alpn_challenge(proof, loop_.wall_time());
    if (status) status = challenge ? answers_.show(*challenge) : Status(challenge.error());
  }
  waiting_.push_back({done, std::move(status)});
  told_.set(loop_.now());
}

void AlpnProver::withdraw(const std::vector<acme::Proof>& proofs) {
  for (const acme::Proof& proof : proofs) answers_.hide(proof.name);
}

void AlpnProver::on_told() {
  for (const Told& told : std::exchange(waiting_, {})) told.done(told.status);
}

}  // namespace adit::service
