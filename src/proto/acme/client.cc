#include "proto/acme/client.h"

#include <jansson.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/check.h"
#include "base/limits_acme.h"
#include "crypto/acme_certificate.h"
#include "crypto/certificate.h"
#include "crypto/jose.h"
#include "proto/http/url.h"

namespace adit::acme {
namespace {

// What nanoseconds of a WallTime hold: until the year 2262.
constexpr std::int64_t kDateMax = 9'000'000'000;

constexpr std::string_view kJose = "application/jose+json";
constexpr std::string_view kPemChain = "application/pem-certificate-chain";
constexpr std::size_t kNonceBytesMax = 256;
constexpr Duration kTransportRetryDelay = 2s;

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

Json object() { return Json(json_object()); }
void set(const Json& j, const char* key, std::string_view text) {
  json_object_set_new(j.get(), key, json_stringn(text.data(), text.size()));
}
void set_json(const Json& j, const char* key, std::string_view text) {
  json_object_set_new(j.get(), key, json_loadb(text.data(), text.size(), 0, nullptr));
}
std::string dump(const Json& j) {
  const std::unique_ptr<char, decltype(&free)> text(json_dumps(j.get(), JSON_COMPACT), &free);
  CHECK(text != nullptr);
  return text.get();
}

std::string contact_of(const std::string& email) {
  const Json list(json_array());
  const std::string url = "mailto:" + email;
  if (!email.empty())
    json_array_append_new(list.get(), json_stringn(url.data(), url.size()));
  return dump(list);
}

// RFC 8555 §6.5.1: base64url; it becomes part of what is signed.
bool is_nonce(std::string_view s) {
  return !s.empty() && s.size() <= kNonceBytesMax && std::ranges::all_of(s, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
  });
}

// Doubling from one second.
Duration poll_delay(unsigned polls) {
  return std::min<Duration>(1s * (1 << std::min(polls, 6u)), limits::kAcmePollDelayMax);
}

}  // namespace

std::string_view name(ChallengeKind kind) {
  switch (kind) {
    case ChallengeKind::TlsAlpn: return "tls-alpn-01";
    case ChallengeKind::Http: return "http-01";
    case ChallengeKind::Dns: return "dns-01";
  }
  return "unknown";
}

std::string ari_id(const ByteVector& authority_key_id, const ByteVector& serial) {
  if (authority_key_id.empty() || serial.empty()) return {};
  return crypto::base64url_encode(authority_key_id) + "." + crypto::base64url_encode(serial);
}

// --- requests ------------------------------------------------------------------------------------

Step Client::get(const std::string& url) {
  last_ = http::Request{"GET", url, {}, {}, {}};
  return Send{last_};
}

Step Client::post(std::string url, std::string payload) {
  post_ = Post{std::move(url), std::move(payload)};
  nonce_retries_ = 0;
  transport_retries_ = 0;
  return transmit();
}

// A nonce signs one request only; most answers bring the next one.
Step Client::transmit() {
  CHECK(post_);
  waiting_for_nonce_ = nonce_.empty();
  if (waiting_for_nonce_) {
    last_ = http::Request{"HEAD", directory_.new_nonce, {}, {}, {}};
    return Send{last_};
  }
  if (!http::parse_https_url(post_->url))
    return fail(FailureKind::Refused, "the ACME server sent a URL that is not https");
  // RFC 8555 §6.2: the key itself only where there is no account yet.
  auto body = crypto::sign_jws(*options_.account_key, protected_header(state_ == State::Account),
                               post_->payload);
  if (!body) return fail(FailureKind::Refused, body.error().what);
  nonce_.clear();
  last_ = http::Request{"POST", post_->url, std::string(kJose),
                        state_ == State::Download ? std::string(kPemChain) : std::string(),
                        std::move(*body)};
  return Send{last_};
}

std::string Client::protected_header(bool with_key) const {
  const Json j = object();
  set(j, "alg", "ES256");
  set(j, "nonce", nonce_);
  set(j, "url", post_->url);
  if (with_key) {
    const auto key = crypto::jwk(*options_.account_key);
    if (key) set_json(j, "jwk", *key);
  } else {
    set(j, "kid", options_.account.url);
  }
  return dump(j);
}

Step Client::fail(FailureKind kind, std::string what, std::optional<Duration> not_before) {
  state_ = State::Over;
  return Failure{kind, Error{EPROTO, std::move(what)}, not_before};
}

Step Client::refuse(std::string_view what, const Problem& problem) {
  std::string text(what);
  if (!problem.type.empty()) text += ": " + problem.type;
  if (!problem.detail.empty()) text += ": " + problem.detail;
  return fail(FailureKind::Refused, std::move(text));
}

Step Client::poll(State state, Instant now, std::optional<Duration> after) {
  const Duration delay = std::max<Duration>(after.value_or(poll_delay(polls_)), 1s);
  if (++polls_ > limits::kAcmePollsMax || now + delay >= deadline_)
    return fail(FailureKind::Unreachable, "the ACME server takes too long to decide", after);
  state_ = state;
  resend_ = false;
  return Wait{now + delay};
}

// --- in the order of the protocol ----------------------------------------------------------------

Step Client::start(Instant now) {
  CHECK(state_ == State::Directory && options_.account_key != nullptr &&
        options_.certificate_key != nullptr);
  deadline_ = now + limits::kAcmeAttemptMax;
  auto thumbprint = crypto::jwk_thumbprint(*options_.account_key);
  if (!thumbprint) return fail(FailureKind::Refused, thumbprint.error().what);
  thumbprint_ = std::move(*thumbprint);
  if (options_.names.empty() || options_.names.size() > limits::kAcmeNamesMax)
    return fail(FailureKind::Refused, "a certificate has 1 to 100 names");
  if (!http::parse_https_url(options_.directory))
    return fail(FailureKind::Refused, "\"" + options_.directory + "\" is not an https URL");
  return get(options_.directory);
}

Step Client::on_time(Instant now) {
  if (now >= deadline_) return fail(FailureKind::Unreachable, "the order took too long");
  if (resend_) {
    resend_ = false;
    // A signed request is signed anew: its nonce may have been taken.
    if (post_ && !waiting_for_nonce_) return transmit();
    return Send{last_};
  }
  if (state_ == State::PollAuthorization) return post(pending_[at_].authorization, {});
  return post(order_url_, {});
}

Step Client::on_unreachable(Instant now, const Error& error) {
  if (++transport_retries_ > limits::kAcmeTransportRetriesMax ||
      now + kTransportRetryDelay >= deadline_)
    return fail(FailureKind::Unreachable, "the ACME server cannot be reached: " + error.what);
  resend_ = true;
  return Wait{now + kTransportRetryDelay * transport_retries_};
}

Step Client::on_response(Instant now, WallTime wall, const http::Response& response) {
  if (now >= deadline_)
    return fail(FailureKind::Unreachable, "the ACME server has taken too long for one order");
  // A date is meant by the server's clock; ours may be wrong.
  if (const auto said = parse_http_date(response.field("date")))
    if (*said >= 0 && *said < kDateMax) wall = WallTime{*said * 1'000'000'000};
  const auto after = parse_retry_after(response.field("retry-after"), wall);
  if (const std::string_view nonce = response.field("replay-nonce"); is_nonce(nonce))
    nonce_ = nonce;
  if (response.status < 200 || response.status >= 300)
    return on_failed_response(now, response, after);
  transport_retries_ = 0;
  if (state_ == State::Directory) return on_directory(response);
  if (waiting_for_nonce_) {
    if (nonce_.empty()) return fail(FailureKind::Refused, "the ACME server gives no nonce");
    return transmit();
  }
  post_.reset();
  switch (state_) {
    case State::Account:
    case State::Contact: return on_account(response);
    case State::Order: {
      order_url_ = response.field("location");
      if (!http::parse_https_url(order_url_))
        return fail(FailureKind::Refused, "the ACME server does not say where the order is");
      return on_order(now, response, after);
    }
    case State::Authorizations: return on_authorization(response);
    case State::Challenge:
      ++at_;
      return next_challenge(now);
    case State::PollAuthorization: return on_polled_authorization(now, response, after);
    case State::Finalize:
    case State::PollOrder: return on_order(now, response, after);
    case State::Download: return on_chain(response);
    case State::Directory:
    case State::Proving:
    case State::Over: break;
  }
  return fail(FailureKind::Refused, "an answer that nobody asked for");
}

Step Client::on_failed_response(Instant now, const http::Response& response,
                                std::optional<Duration> after) {
  const Problem problem = parse_problem(response.body);
  // RFC 8555 §6.5: the answer brings a fresh nonce, and the request is to be repeated with it.
  if (problem.type == "badNonce" && post_) {
    if (++nonce_retries_ > limits::kAcmeNonceRetriesMax)
      return fail(FailureKind::Refused, "the ACME server takes none of its own nonces");
    return transmit();
  }
  if (problem.type.empty() && response.status >= 500) {
    const std::string what = "HTTP status " + std::to_string(response.status);
    if (after && *after > kTransportRetryDelay)
      return fail(FailureKind::Unreachable, "the ACME server is in trouble: " + what, after);
    return on_unreachable(now, Error{EAGAIN, what});
  }
  return on_problem(now, problem, response.status, after);
}

Step Client::on_problem(Instant now, const Problem& problem, int status,
                        std::optional<Duration> after) {
  if (problem.type == "rateLimited" || status == 429) {
    return fail(FailureKind::RateLimited, "rate limit of the ACME server: " + problem.detail,
                after.value_or(limits::kAcmeRateLimitDefault));
  }
  if (problem.type == "serverInternal" || status == 503)
    return fail(FailureKind::Unreachable, "the ACME server is in trouble: " + problem.detail,
                after);
  // An account that was deleted, or one of another server of the same name: once more from its key.
  const bool no_account = problem.type == "accountDoesNotExist" ||
                          (state_ == State::Contact && problem.type == "unauthorized");
  if (no_account && !account_renewed_ && state_ != State::Account) {
    account_renewed_ = true;
    options_.account = {};
    return begin_account();
  }
  // RFC 9773 §5: what it replaces is only a hint; without it the order stands on its own.
  if (state_ == State::Order && !options_.replaces.empty()) {
    options_.replaces.clear();
    return begin_order();
  }
  if (state_ == State::Finalize && problem.type == "orderNotReady") {
    finalized_ = false;
    return poll(State::PollOrder, now, after);
  }
  if (problem.type == "externalAccountRequired")
    return fail(FailureKind::Refused, "the ACME server wants an external account binding: give "
                                      "--acme-eab-kid and --acme-eab-key-file");
  std::string what = "the ACME server refuses (HTTP status " + std::to_string(status) + ")";
  return refuse(what, problem);
}

Step Client::on_directory(const http::Response& response) {
  auto directory = parse_directory(response.body);
  if (!directory) return fail(FailureKind::Refused, directory.error().what);
  directory_ = std::move(*directory);
  if (directory_.renewal_info.empty()) options_.replaces.clear();
  if (options_.account.url.empty()) return begin_account();
  if (options_.account.contact == options_.email) return begin_order();
  state_ = State::Contact;
  return post(options_.account.url, "{\"contact\":" + contact_of(options_.email) + "}");
}

// RFC 8555 §7.3: the server answers with the account that has the key, or with a new one.
Step Client::begin_account() {
  state_ = State::Account;
  const bool bound = !options_.eab_key_id.empty();
  if (directory_.needs_external_account && !bound)
    return fail(FailureKind::Refused, "the ACME server wants an external account binding: give "
                                      "--acme-eab-kid and --acme-eab-key-file");
  const Json j = object();
  json_object_set_new(j.get(), "termsOfServiceAgreed", json_true());
  if (!options_.email.empty()) set_json(j, "contact", contact_of(options_.email));
  if (bound) {
    const Json header = object();
    set(header, "alg", "HS256");
    set(header, "kid", options_.eab_key_id);
    set(header, "url", directory_.new_account);
    const auto key = crypto::jwk(*options_.account_key);
    CHECK(key);  // start() has made its thumbprint
    set_json(j, "externalAccountBinding", crypto::hmac_jws(options_.eab_key, dump(header), *key));
  }
  return post(directory_.new_account, dump(j));
}

Step Client::on_account(const http::Response& response) {
  auto account = parse_account(response.body);
  if (!account) return fail(FailureKind::Refused, account.error().what);
  if (!account->status.empty() && account->status != "valid")
    return fail(FailureKind::Refused, "the ACME account is " + account->status);
  if (state_ == State::Account) {
    const std::string location(response.field("location"));
    if (!http::parse_https_url(location))
      return fail(FailureKind::Refused, "the ACME server does not say where the account is");
    options_.account.url = location;
  }
  options_.account.contact = options_.email;
  return begin_order();
}

Step Client::begin_order() {
  state_ = State::Order;
  const Json j = object(), list(json_array());
  for (const std::string& name : options_.names) {
    json_t* one = json_object();
    json_object_set_new(one, "type", json_string("dns"));
    json_object_set_new(one, "value", json_stringn(name.data(), name.size()));
    json_array_append_new(list.get(), one);
  }
  json_object_set(j.get(), "identifiers", list.get());
  if (!options_.replaces.empty()) set(j, "replaces", options_.replaces);
  return post(directory_.new_order, dump(j));
}

Step Client::next_authorization() {
  state_ = State::Authorizations;
  if (at_ < order_.authorizations.size()) return post(order_.authorizations[at_], {});
  at_ = 0;
  if (pending_.empty()) {  // all were valid already
    state_ = State::PollOrder;
    return post(order_url_, {});
  }
  state_ = State::Proving;
  return Prove{proofs_};
}

Step Client::on_authorization(const http::Response& response) {
  auto authorization = parse_authorization(response.body);
  if (!authorization) return fail(FailureKind::Refused, authorization.error().what);
  switch (authorization->status) {
    case AuthorizationStatus::Valid: break;
    case AuthorizationStatus::Over:
      return fail(FailureKind::Refused, "the authorization of " + authorization->pattern() +
                                            " is " + authorization->status_word);
    case AuthorizationStatus::Pending:
      if (auto failed = add_proof(*authorization)) return std::move(*failed);
      break;
  }
  ++at_;
  return next_authorization();
}

std::optional<Step> Client::add_proof(const Authorization& authorization) {
  // Proving another name than was asked for would be somebody else's order.
  if (std::ranges::find(options_.names, authorization.pattern()) == options_.names.end())
    return fail(FailureKind::Refused, "the ACME server asks for a proof for " +
                                          authorization.pattern() + ", which was not ordered");
  const auto& offered = authorization.challenges;
  const auto fits = std::ranges::find_if(
      offered, [this](const OfferedChallenge& c) { return c.type == name(options_.challenge); });
  if (fits == offered.end()) {
    std::string types;
    for (const OfferedChallenge& c : offered) types += (types.empty() ? "" : ", ") + c.type;
    return fail(FailureKind::Refused, "for " + authorization.pattern() +
                                          " the ACME server does not take " +
                                          std::string(name(options_.challenge)) + ", but " + types);
  }
  Proof proof;
  proof.kind = options_.challenge;
  proof.name = authorization.name;
  proof.token = fits->token;
  proof.key_authorization = fits->token + "." + thumbprint_;  // RFC 8555 §8.1
  proof.digest = crypto::sha256(as_bytes(proof.key_authorization));
  proof.dns_value = crypto::base64url_encode(proof.digest);
  proofs_.push_back(std::move(proof));
  pending_.push_back({order_.authorizations[at_], fits->url, authorization.pattern(),
                      fits->status != ChallengeStatus::Pending});
  return std::nullopt;
}

Step Client::on_proven(Instant now) {
  CHECK(state_ == State::Proving);
  if (now >= deadline_) return fail(FailureKind::Unreachable, "the proofs took too long");
  at_ = 0;
  return next_challenge(now);
}

// RFC 8555 §7.5.1: an empty object says that the proof can be looked at.
Step Client::next_challenge(Instant now) {
  state_ = State::Challenge;
  while (at_ < pending_.size() && pending_[at_].asked) ++at_;
  if (at_ < pending_.size()) return post(pending_[at_].challenge, "{}");
  at_ = 0;
  return poll(State::PollAuthorization, now, {});
}

Step Client::on_polled_authorization(Instant now, const http::Response& response,
                                     std::optional<Duration> after) {
  auto authorization = parse_authorization(response.body);
  if (!authorization) return fail(FailureKind::Refused, authorization.error().what);
  switch (authorization->status) {
    case AuthorizationStatus::Pending: return poll(State::PollAuthorization, now, after);
    case AuthorizationStatus::Over:
      for (const OfferedChallenge& c : authorization->challenges)
        if (c.error) return refuse("the ACME server could not validate " + pending_[at_].name,
                                   *c.error);
      return fail(FailureKind::Refused, "the ACME server could not validate " +
                                            pending_[at_].name + ": it is " +
                                            authorization->status_word);
    case AuthorizationStatus::Valid: break;
  }
  if (++at_ < pending_.size()) return post(pending_[at_].authorization, {});
  state_ = State::PollOrder;
  return post(order_url_, {});
}

Step Client::on_order(Instant now, const http::Response& response,
                      std::optional<Duration> after) {
  auto order = parse_order(response.body);
  if (!order) return fail(FailureKind::Refused, order.error().what);
  const bool fresh = state_ == State::Order;
  order_ = std::move(*order);
  switch (order_.status) {
    case OrderStatus::Invalid:
      return refuse("the order failed", order_.error.value_or(Problem{}));
    case OrderStatus::Pending:
      if (!fresh) return poll(State::PollOrder, now, after);
      at_ = 0;
      return next_authorization();
    case OrderStatus::Processing: return poll(State::PollOrder, now, after);
    case OrderStatus::Ready: {
      if (finalized_) return poll(State::PollOrder, now, after);
      auto request = crypto::certificate_request(*options_.certificate_key, options_.names);
      if (!request) return fail(FailureKind::Refused, request.error().what);
      finalized_ = true;
      state_ = State::Finalize;
      return post(order_.finalize, "{\"csr\":\"" + crypto::base64url_encode(*request) + "\"}");
    }
    case OrderStatus::Valid: break;
  }
  if (order_.certificate.empty())
    return fail(FailureKind::Refused, "the ACME server does not say where the certificate is");
  state_ = State::Download;
  return post(order_.certificate, {});
}

Step Client::on_chain(const http::Response& response) {
  auto chain = crypto::parse_chain_pem(response.body);
  if (!chain || chain->empty())
    return fail(FailureKind::Refused, "the ACME server's certificate cannot be read" +
                                          (chain ? std::string() : ": " + chain.error().what));
  state_ = State::Over;
  return Issued{response.body};
}

}  // namespace adit::acme
