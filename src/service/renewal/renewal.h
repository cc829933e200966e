// One certificate and its future: read from disk, issued when there is none, renewed in time, and
// handed to whoever serves it. What is in use serves until its successor is proven; no failure here
// stops anything else.
//
//   idle (no names) | issuing | waiting (for the time to renew, or to try again)
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "crypto/certificate.h"
#include "io/loop.h"
#include "proto/acme/client.h"
#include "service/renewal/account_file.h"
#include "service/renewal/fetcher.h"
#include "service/renewal/prover.h"

namespace adit::service {

struct RenewalSettings {
  std::string directory;  // URL
  std::string email, eab_key_id;
  ByteVector eab_key;
  acme::ChallengeKind challenge = acme::ChallengeKind::TlsAlpn;
  Duration renew_before{0};  // the end; 0: a third of the lifetime
  std::string account_path, chain_path;
  std::string key_pem;       // of the certificate; stays the same
  std::uint64_t seed = 0;    // of the jitter
};

class CertificateOwner {
 public:
  // From now on for new connections. An error keeps what was.
  virtual Status on_certificate(const std::string& chain_pem) = 0;

 protected:
  ~CertificateOwner() = default;
};

// For `status`.
struct RenewalStatus {
  std::vector<std::string> names;
  std::string state;          // "idle", "issuing", "valid", "self_signed"
  std::string directory;
  std::int64_t not_after = 0, renew_at = 0;  // seconds since 1970; 0: no certificate
  std::int64_t next_try = 0;  // after failures; 0: none
  unsigned failures = 0;      // in a row
  std::string trouble;        // the last failure; empty after a success
};

// Whether `chain_pem` may serve: it is for this key and these names, and not over. The leaf.
Result<crypto::Certificate> prove_chain(const std::string& chain_pem, const std::string& key_pem,
                                        const std::vector<std::string>& names,
                                        std::int64_t now_seconds);

class Renewal {
 public:
  Renewal(io::Loop& loop, Log& log, Metrics& metrics, RenewalSettings settings,
          std::unique_ptr<Fetcher> fetcher, Prover& prover, CertificateOwner& owner);
  ~Renewal();
  Renewal(const Renewal&) = delete;
  Renewal& operator=(const Renewal&) = delete;

  // The names of the certificate, canonical. Takes what is on disk for them into use at once (the
  // owner is called), or begins an order within this turn.
  void set_names(std::vector<std::string> names);
  RenewalStatus status() const;
  bool has_certificate() const { return leaf_.has_value(); }

 private:
  enum class Asking : std::uint8_t { Nothing, Order, Directory, Window };

  void evaluate();
  void begin_order(std::int64_t now);
  void act(acme::Step step);
  void on_fetched(Result<http::Response> result);
  void on_proved(Status status);
  void on_timer();
  void end_order();
  void on_issued(const std::string& chain_pem);
  void on_failure(const acme::Failure& failure);
  Status take(const std::string& chain_pem, crypto::Certificate leaf);
  void load();
  void plan(std::int64_t now);
  void ask_window();
  void on_window_answer(const Result<http::Response>& result);
  bool covered() const;
  bool fits(const crypto::Certificate& leaf) const;
  double random() { return static_cast<double>(random_.below(1 << 20)) / (1 << 20); }
  std::int64_t wall() const { return loop_.wall_time().seconds(); }

  io::Loop& loop_;
  Log& log_;
  Metrics& metrics_;
  const RenewalSettings settings_;
  const AccountFile accounts_;
  std::unique_ptr<Fetcher> fetcher_;
  Prover& prover_;
  CertificateOwner& owner_;
  Prng random_;
  io::Timer timer_;

  std::vector<std::string> names_;
  std::optional<crypto::Certificate> leaf_;         // in use
  std::optional<std::string> next_chain_;           // proven, and not valid before next_from_
  std::int64_t next_from_ = 0;
  std::int64_t in_use_since_ = 0;
  std::int64_t renew_at_ = 0;

  Asking asking_ = Asking::Nothing;
  std::optional<LoadedAccount> account_;
  std::optional<crypto::PrivateKey> key_;
  std::unique_ptr<acme::Client> client_;
  std::vector<acme::Proof> proofs_;
  bool step_timer_ = false;                         // timer_ is the order's
  Instant try_at_;
  Instant window_at_;                               // when to ask for the window of renewal
  unsigned failures_ = 0;
  std::string trouble_;
  std::string window_url_;
};

}  // namespace adit::service
