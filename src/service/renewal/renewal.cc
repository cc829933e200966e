#include "service/renewal/renewal.h"

#include <algorithm>
#include <cerrno>

#include "base/limits_acme.h"
#include "crypto/key_file.h"

namespace adit::service {
namespace {

constexpr std::size_t kChainBytesMax = std::size_t{1} << 20;
// A timer that is set for a date is looked at again, since clocks are set.
constexpr Duration kLookAgain = 1h;
constexpr Duration kWindowEvery = 6h;  // RFC 9773 §4.3.3's value where the server says nothing
constexpr std::int64_t kRenewalsApartSeconds = 3600;
constexpr Duration kUnreachableFirst = 30s;
constexpr Duration kRefusedFirst = 1min;

Duration scaled(Duration d, double factor) {
  return Duration(static_cast<std::int64_t>(static_cast<double>(d.count()) * factor));
}

// The n-th wait in a row, from 1.
Duration back_off(acme::FailureKind kind, unsigned n) {
  Duration out = kind == acme::FailureKind::Unreachable ? kUnreachableFirst : kRefusedFirst;
  const Duration most = kind == acme::FailureKind::Unreachable ? limits::kAcmeRetryUnreachableMax
                                                               : limits::kAcmeRetryRefusedMax;
  const int factor = kind == acme::FailureKind::Unreachable ? 2 : 4;
  for (unsigned i = 1; i < n && out < most; ++i) out *= factor;
  return std::min(out, most);
}

}  // namespace

Result<crypto::Certificate> prove_chain(const std::string& chain_pem, const std::string& key_pem,
                                        const std::vector<std::string>& names,
                                        std::int64_t now_seconds) {
  auto chain = crypto::parse_chain_pem(chain_pem);
  if (!chain) return std::move(chain).error();
  auto key = crypto::PrivateKey::from_pem(key_pem);
  if (!key) return std::move(key).error();
  crypto::Certificate leaf = std::move(chain->front());
  if (!std::ranges::equal(leaf.spki_der(), key->public_key_spki_der()))
    return Error{EINVAL, "the certificate is for another key"};
  for (const std::string& name : names)
    if (std::ranges::find(leaf.subject_names(), name) == leaf.subject_names().end())
      return Error{EINVAL, "the certificate is not for " + name};
  if (leaf.not_after() <= now_seconds)
    return Error{EINVAL, "the certificate has expired (is the clock right?)"};
  return leaf;
}

Renewal::Renewal(io::Loop& loop, Log& log, Metrics& metrics, RenewalSettings settings,
                 std::unique_ptr<Fetcher> fetcher, Prover& prover, CertificateOwner& owner)
    : loop_(loop),
      log_(log),
      metrics_(metrics),
      settings_(std::move(settings)),
      accounts_(settings_.account_path),
      fetcher_(std::move(fetcher)),
      prover_(prover),
      owner_(owner),
      random_(settings_.seed),
      timer_(loop, Delegate<void()>::to<&Renewal::on_timer>(this)) {}

Renewal::~Renewal() {
  if (!proofs_.empty()) prover_.withdraw(proofs_);
}

bool Renewal::fits(const crypto::Certificate& leaf) const {
  return std::ranges::all_of(names_, [&leaf](const std::string& name) {
    return std::ranges::find(leaf.subject_names(), name) != leaf.subject_names().end();
  });
}

bool Renewal::covered() const { return leaf_ && fits(*leaf_) && leaf_->not_after() > wall(); }

void Renewal::set_names(std::vector<std::string> names) {
  if (names == names_) return;
  names_ = std::move(names);
  if (asking_ == Asking::Order) return;  // evaluated when that is over
  if (!covered()) load();
  // For other names the failures of before say nothing.
  failures_ = 0;
  try_at_ = loop_.now();
  window_at_ = loop_.now();
  evaluate();
}

void Renewal::load() {
  auto text = crypto::read_file(settings_.chain_path, kChainBytesMax);
  if (!text) {
    if (text.error().code != ENOENT)
      log_.warn("acme.file", {{"file", settings_.chain_path}, {"what", text.error().what}});
    return;
  }
  auto leaf = prove_chain(*text, settings_.key_pem, names_, wall());
  if (!leaf) {
    return log_.info("acme.file_not_used",
                     {{"file", settings_.chain_path}, {"why", leaf.error().what}});
  }
  if (Status taken = take(*text, std::move(*leaf)); !taken)
    log_.warn("acme.file", {{"file", settings_.chain_path}, {"what", taken.error().what}});
}

Status Renewal::take(const std::string& chain_pem, crypto::Certificate leaf) {
  if (Status ok = owner_.on_certificate(chain_pem); !ok) return ok;
  leaf_ = std::move(leaf);
  next_chain_.reset();
  in_use_since_ = wall();
  plan(in_use_since_);
  metrics_.gauge("adit_acme_certificate_expiry_seconds", "name=\"" + names_.front() + "\"")
      .set(leaf_->not_after());
  return {};
}

// A third of the lifetime before the end, and up to a thirtieth of it sooner, so that certificates
// made together are not renewed together.
void Renewal::plan(std::int64_t now) {
  const std::int64_t lifetime = leaf_->not_after() - leaf_->not_before();
  std::int64_t before = lifetime / 3;
  // More than two thirds would be a renewal without end.
  if (settings_.renew_before > Duration{0})
    before = std::min<std::int64_t>(settings_.renew_before / 1s, lifetime * 2 / 3);
  const auto sooner = static_cast<std::int64_t>(random() * static_cast<double>(lifetime) / 30);
  renew_at_ = leaf_->not_after() - before - sooner;
  window_at_ = loop_.now() + 1s;  // the server may know better
  log_.info("acme.certificate_in_use",
            {{"name", names_.front()}, {"days_left", (leaf_->not_after() - now) / 86400},
             {"renewal_in_s", std::max<std::int64_t>(renew_at_ - now, 0)}});
}

// --- when ----------------------------------------------------------------------------------------

void Renewal::on_timer() {
  if (!step_timer_) return evaluate();
  step_timer_ = false;
  act(client_->on_time(loop_.now()));
}

void Renewal::evaluate() {
  if (asking_ != Asking::Nothing || names_.empty()) return;
  const std::int64_t now = wall();
  if (next_chain_ && next_from_ <= now) {
    const std::string chain = *std::exchange(next_chain_, std::nullopt);
    auto leaf = prove_chain(chain, settings_.key_pem, names_, now);
    if (leaf) static_cast<void>(take(chain, std::move(*leaf)));
  }
  const bool due = !covered() || (renew_at_ <= now && !next_chain_);
  if (due && loop_.now() >= try_at_) return begin_order(now);
  if (!due && loop_.now() >= window_at_) return ask_window();
  Instant at = loop_.now() + kLookAgain;
  if (due) at = std::min(at, try_at_);
  if (!due) at = std::min(at, window_at_);
  if (!due && !next_chain_) at = std::min(at, loop_.now() + 1s * (renew_at_ - now));
  if (next_chain_) at = std::min(at, loop_.now() + 1s * (next_from_ - now));
  timer_.set(std::max(at, loop_.now() + 1ms));
}

// --- an order ------------------------------------------------------------------------------------

void Renewal::begin_order(std::int64_t) {
  asking_ = Asking::Order;
  auto account = accounts_.load_or_make(settings_.directory);
  auto key = crypto::PrivateKey::from_pem(settings_.key_pem);
  if (!account || !key) {
    const Error& error = account ? key.error() : account.error();
    return on_failure({acme::FailureKind::Refused, error, std::nullopt});
  }
  account_.emplace(std::move(*account));
  key_.emplace(std::move(*key));
  acme::OrderOptions options;
  options.directory = settings_.directory;
  options.account_key = &account_->key;
  options.account = account_->state;
  options.email = settings_.email;
  options.eab_key_id = settings_.eab_key_id;
  options.eab_key = settings_.eab_key;
  options.names = names_;
  options.challenge = settings_.challenge;
  options.certificate_key = &*key_;
  if (covered()) options.replaces = acme::ari_id(leaf_->authority_key_id(), leaf_->serial());
  client_ = std::make_unique<acme::Client>(std::move(options));
  log_.info("acme.ordering", {{"name", names_.front()}, {"names", names_.size()},
                              {"directory", settings_.directory},
                              {"challenge", acme::name(settings_.challenge)}});
  act(client_->start(loop_.now()));
}

void Renewal::act(acme::Step step) {
  if (const auto* send = std::get_if<acme::Send>(&step)) {
    fetcher_->fetch(send->request, Fetcher::Done::to<&Renewal::on_fetched>(this));
  } else if (const auto* wait = std::get_if<acme::Wait>(&step)) {
    step_timer_ = true;
    timer_.set(wait->until);
  } else if (auto* prove = std::get_if<acme::Prove>(&step)) {
    proofs_ = std::move(prove->proofs);
    prover_.prove(proofs_, Prover::Done::to<&Renewal::on_proved>(this));
  } else if (const auto* issued = std::get_if<acme::Issued>(&step)) {
    on_issued(issued->chain_pem);
  } else {
    on_failure(std::get<acme::Failure>(step));
  }
}

void Renewal::on_fetched(Result<http::Response> result) {
  if (asking_ != Asking::Order) return on_window_answer(result);
  if (!result) return act(client_->on_unreachable(loop_.now(), result.error()));
  act(client_->on_response(loop_.now(), loop_.wall_time(), *result));
}

void Renewal::on_proved(Status status) {
  if (status) return act(client_->on_proven(loop_.now()));
  on_failure({acme::FailureKind::Refused, std::move(status).error().with("challenge"),
              std::nullopt});
}

// Whatever became of it: what was on show is withdrawn, and the account is kept.
void Renewal::end_order() {
  if (!proofs_.empty()) prover_.withdraw(std::exchange(proofs_, {}));
  if (client_ != nullptr && account_) {
    const acme::AccountState& now = client_->account();
    if (!now.url.empty() &&
        (now.url != account_->state.url || now.contact != account_->state.contact)) {
      account_->state = now;
      if (Status saved = accounts_.save(settings_.directory, *account_); !saved)
        log_.warn("acme.file", {{"file", settings_.account_path}, {"what", saved.error().what}});
      log_.info("acme.account", {{"id", now.url}, {"terms", client_->terms()}});
    }
  }
  client_.reset();
  account_.reset();
  key_.reset();
  fetcher_->rest();
  step_timer_ = false;
  asking_ = Asking::Nothing;
}

void Renewal::on_issued(const std::string& given) {
  const std::string chain = given;  // the step goes with the client
  const std::int64_t now = wall();
  // Of the names that were ordered; others may have come since.
  auto leaf = prove_chain(chain, settings_.key_pem, {}, now);
  if (!leaf)
    return on_failure({acme::FailureKind::Refused,
                       std::move(leaf).error().with("the ACME server's certificate is no good"),
                       std::nullopt});
  end_order();
  if (Status saved = crypto::replace_file(settings_.chain_path, chain); !saved)
    log_.warn("acme.file", {{"file", settings_.chain_path}, {"what", saved.error().what}});
  metrics_.counter("adit_acme_orders_total", "result=\"issued\"").add();
  failures_ = 0;
  trouble_.clear();
  metrics_.gauge("adit_acme_failures", "name=\"" + names_.front() + "\"").set(0);
  log_.info("acme.issued", {{"name", names_.front()}, {"not_after", leaf->not_after()}});
  const std::int64_t half_left = (leaf->not_after() - now) / 2;
  if (covered() && leaf->not_before() > now) {
    // By our clock it is not valid yet, and there is one that is.
    next_from_ = leaf->not_before();
    next_chain_ = chain;
    log_.warn("acme.not_valid_yet", {{"name", names_.front()}, {"in_s", next_from_ - now}});
  } else if (Status taken = take(chain, std::move(*leaf)); !taken) {
    return on_failure({acme::FailureKind::Refused, std::move(taken).error(), std::nullopt});
  }
  // Due at once by a clock that is ahead, or a lifetime of hours: not order after order.
  renew_at_ = std::max(renew_at_, now + std::min(kRenewalsApartSeconds, half_left));
  if (!covered()) {  // other names since; an answer without them must not become a loop
    try_at_ = loop_.now() + kRefusedFirst;
  }
  evaluate();
}

void Renewal::on_failure(const acme::Failure& failed) {
  const acme::Failure failure = failed;  // it may live in what ends here
  end_order();
  ++failures_;
  trouble_ = failure.error.what;
  Duration wait = scaled(back_off(failure.kind, failures_), 0.75 + random() / 2);
  if (failure.not_before)
    wait = std::max(wait, *failure.not_before + scaled(*failure.not_before, random() / 10));
  try_at_ = loop_.now() + wait;
  metrics_.counter("adit_acme_orders_total", "result=\"failed\"").add();
  metrics_.gauge("adit_acme_failures", "name=\"" + names_.front() + "\"").set(failures_);
  log_.warn("acme.failed", {{"name", names_.front()}, {"why", trouble_},
                            {"failures", failures_}, {"again_in_s", wait / 1s},
                            {"serving", covered() ? "the certificate of before" : "self-signed"}});
  evaluate();
}

// --- renewal information (RFC 9773) --------------------------------------------------------------

void Renewal::ask_window() {
  window_at_ = loop_.now() + kWindowEvery;
  const std::string id = acme::ari_id(leaf_->authority_key_id(), leaf_->serial());
  if (id.empty()) return evaluate();
  asking_ = Asking::Directory;
  fetcher_->fetch(http::Request{"GET", settings_.directory, {}, {}, {}},
                  Fetcher::Done::to<&Renewal::on_fetched>(this));
}

// No answer, or one that says nothing: the certificate's own dates decide.
void Renewal::on_window_answer(const Result<http::Response>& result) {
  const bool good = result && result->status == 200;
  if (asking_ == Asking::Directory && good) {
    const auto directory = acme::parse_directory(result->body);
    const std::string id = acme::ari_id(leaf_->authority_key_id(), leaf_->serial());
    if (directory && !directory->renewal_info.empty()) {
      asking_ = Asking::Window;
      return fetcher_->fetch(
          http::Request{"GET", directory->renewal_info + "/" + id, {}, {}, {}},
          Fetcher::Done::to<&Renewal::on_fetched>(this));
    }
  } else if (asking_ == Asking::Window && good) {
    const auto window = acme::parse_renewal_info(result->body);
    const auto again = acme::parse_retry_after(result->field("retry-after"), loop_.wall_time());
    if (again) window_at_ = loop_.now() + std::clamp<Duration>(*again, 1min, 24h);
    // Never so late that a server in error would let the certificate end.
    const std::int64_t latest =
        leaf_->not_after() - (leaf_->not_after() - leaf_->not_before()) / 10;
    if (window && window->start < latest && !(renew_at_ >= window->start &&
                                              renew_at_ < window->end)) {
      const auto span = static_cast<double>(window->end - window->start);
      renew_at_ = std::min(window->start + static_cast<std::int64_t>(random() * span), latest);
      // A server that would have every new certificate replaced at once is not obeyed at once.
      renew_at_ = std::max(renew_at_, in_use_since_ + kRenewalsApartSeconds);
      log_.info("acme.renewal_window", {{"name", names_.front()}, {"renewal_in_s",
                                        std::max<std::int64_t>(renew_at_ - wall(), 0)}});
    }
  }
  asking_ = Asking::Nothing;
  fetcher_->rest();
  evaluate();
}

RenewalStatus Renewal::status() const {
  RenewalStatus out;
  out.names = names_;
  out.directory = settings_.directory;
  out.state = asking_ == Asking::Order ? "issuing"
              : names_.empty()         ? "idle"
              : covered()              ? "valid"
                                       : "self_signed";
  if (leaf_) {
    out.not_after = leaf_->not_after();
    out.renew_at = renew_at_;
  }
  out.failures = failures_;
  out.trouble = trouble_;
  if (failures_ > 0) out.next_try = wall() + (try_at_ - loop_.now()) / 1s;
  return out;
}

}  // namespace adit::service
