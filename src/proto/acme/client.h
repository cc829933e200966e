// One certificate from an ACME server (RFC 8555), as an engine without I/O: it says what to send,
// when to wait and what to prove, and is told what came of it.
//
//   directory -> account -> order -> authorizations -> Prove -> challenges -> poll -> finalize
//   -> poll -> chain
//
// Every call returns the one next step. A client lives for one order; the account it found or made
// is read off afterwards, whatever became of the order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/time.h"
#include "crypto/digest.h"
#include "crypto/key.h"
#include "proto/acme/documents.h"
#include "proto/http/message.h"

namespace adit::acme {

enum class ChallengeKind : std::uint8_t { TlsAlpn, Http, Dns };
std::string_view name(ChallengeKind kind);  // "tls-alpn-01"

struct AccountState {
  std::string url;      // empty: to be made, or found by its key
  std::string contact;  // the address that the server was last told; may be empty
};

// What is wanted. The keys outlive the client.
struct OrderOptions {
  std::string directory;
  const crypto::PrivateKey* account_key = nullptr;  // P-256
  AccountState account;
  std::string email;  // contact of the account; empty: none
  // External account binding (RFC 8555 §7.3.4), where the server asks for it.
  std::string eab_key_id;
  ByteVector eab_key;
  std::vector<std::string> names;
  ChallengeKind challenge = ChallengeKind::TlsAlpn;
  const crypto::PrivateKey* certificate_key = nullptr;  // P-256
  std::string replaces;  // RFC 9773 §5: ari_id() of the certificate in use; empty: none
};

// What shows that we hold a name (RFC 8555 §8).
struct Proof {
  ChallengeKind kind = ChallengeKind::TlsAlpn;
  std::string name;               // without "*."
  std::string token;
  std::string key_authorization;  // HTTP-01: the body
  crypto::Sha256Digest digest{};  // TLS-ALPN-01: of the key authorization
  std::string dns_value;          // DNS-01: of the TXT record _acme-challenge.NAME
};

enum class FailureKind : std::uint8_t {
  Unreachable,  // no answer, or one that says the server is in trouble
  RateLimited,  // not before `not_before`
  Refused,      // by the server: names, account, challenge; or an answer nobody understands
};
struct Failure {
  FailureKind kind = FailureKind::Refused;
  Error error;
  std::optional<Duration> not_before;  // from now; as the server said
};

struct Send {
  http::Request request;
};
struct Wait {
  Instant until;
};
struct Prove {
  std::vector<Proof> proofs;  // all that are needed, at once
};
struct Issued {
  std::string chain_pem;
};
using Step = std::variant<Send, Wait, Prove, Issued, Failure>;

class Client {
 public:
  explicit Client(OrderOptions options) : options_(std::move(options)) {}

  Step start(Instant now);
  // After Send: one of these. `wall`: for dates in answers.
  Step on_response(Instant now, WallTime wall, const http::Response& response);
  Step on_unreachable(Instant now, const Error& error);
  // After Wait, at its time.
  Step on_time(Instant now);
  // After Prove, when every proof can be seen.
  Step on_proven(Instant now);

  const AccountState& account() const { return options_.account; }
  const std::string& terms() const { return directory_.terms; }

 private:
  enum class State : std::uint8_t {
    Directory,
    Account,
    Contact,
    Order,
    Authorizations,
    Proving,
    Challenge,
    PollAuthorization,
    Finalize,
    PollOrder,
    Download,
    Over,
  };
  struct Post {
    std::string url, payload;
  };

  Step get(const std::string& url);
  Step post(std::string url, std::string payload);
  Step transmit();
  std::string protected_header(bool with_key) const;
  Step fail(FailureKind kind, std::string what, std::optional<Duration> not_before = {});
  Step refuse(std::string_view what, const Problem& problem);
  Step poll(State state, Instant now, std::optional<Duration> after);

  Step on_failed_response(Instant now, const http::Response& response,
                          std::optional<Duration> after);
  Step on_problem(Instant now, const Problem& problem, int status, std::optional<Duration> after);
  Step on_directory(const http::Response& response);
  Step begin_account();
  Step on_account(const http::Response& response);
  Step begin_order();
  Step next_authorization();
  Step on_authorization(const http::Response& response);
  std::optional<Step> add_proof(const Authorization& authorization);
  Step next_challenge(Instant now);
  Step on_polled_authorization(Instant now, const http::Response& response,
                               std::optional<Duration> after);
  Step on_order(Instant now, const http::Response& response, std::optional<Duration> after);
  Step on_chain(const http::Response& response);

  OrderOptions options_;
  State state_ = State::Directory;
  Directory directory_;
  std::string thumbprint_;
  Instant deadline_ = Instant::never();

  std::string nonce_;
  std::optional<Post> post_;       // under way, or waiting for a nonce
  bool waiting_for_nonce_ = false;
  bool resend_ = false;            // on_time() repeats what was sent last
  http::Request last_;
  unsigned nonce_retries_ = 0, transport_retries_ = 0, polls_ = 0;
  bool account_renewed_ = false;

  std::string order_url_;
  Order order_;
  bool finalized_ = false;
  std::size_t at_ = 0;             // of order_.authorizations, or of pending_
  struct Pending {
    std::string authorization, challenge, name;
    bool asked = false;            // the server works on it already
  };
  std::vector<Pending> pending_;
  std::vector<Proof> proofs_;
};

// RFC 9773 §4.1: what a certificate is called there; empty where it names no authority key.
std::string ari_id(const ByteVector& authority_key_id, const ByteVector& serial);

}  // namespace adit::acme
