#include "proto/acme/documents.h"

#include <jansson.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/limits_acme.h"
#include "proto/http/url.h"

namespace adit::acme {
namespace {

constexpr std::string_view kErrorPrefix = "urn:ietf:params:acme:error:";
constexpr std::size_t kDetailBytesMax = 600;
constexpr std::size_t kTokenBytesMax = 256;
constexpr std::size_t kChallengesMax = 16;
constexpr std::size_t kSubproblemsMax = 8;

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

Json load(std::string_view text) {
  if (text.size() > limits::kHttpBodyBytesMax) return nullptr;
  return Json(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, nullptr));
}

Error wrong(std::string_view what) {
  return Error{EPROTO, "the ACME server's " + std::string(what) + " cannot be understood"};
}

std::string_view text_of(const json_t* j) {
  return json_is_string(j) ? std::string_view(json_string_value(j), json_string_length(j))
                           : std::string_view();
}
std::string_view text_at(const json_t* object, const char* key) {
  return text_of(json_object_get(object, key));
}

// Empty unless it is a URL that may be asked.
std::string url_at(const json_t* object, const char* key) {
  const std::string_view text = text_at(object, key);
  return http::parse_https_url(text) ? std::string(text) : std::string();
}

// For logs and status: of bounded length, without what could forge a line.
std::string readable(std::string_view text) {
  std::string out(text.substr(0, kDetailBytesMax));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  return out;
}

Problem problem_of(const json_t* j) {
  Problem out;
  const std::string_view type = text_at(j, "type");
  if (type.starts_with(kErrorPrefix)) out.type = readable(type.substr(kErrorPrefix.size()));
  out.detail = readable(text_at(j, "detail"));
  if (out.detail.empty()) out.detail = readable(text_at(j, "title"));
  const json_t* below = json_object_get(j, "subproblems");
  const std::size_t count = std::min(json_array_size(below), kSubproblemsMax);
  for (std::size_t i = 0; i < count; ++i) {
    const json_t* one = json_array_get(below, i);
    const std::string name = readable(text_at(json_object_get(one, "identifier"), "value"));
    out.detail += "; " + (name.empty() ? name : name + ": ") + readable(text_at(one, "detail"));
  }
  out.detail = out.detail.substr(0, kDetailBytesMax);
  return out;
}

std::optional<Problem> error_at(const json_t* object) {
  const json_t* j = json_object_get(object, "error");
  if (!json_is_object(j)) return std::nullopt;
  return problem_of(j);
}

template <class Status>
struct Word {
  std::string_view word;
  Status status;
};

template <class Status, std::size_t N>
std::optional<Status> status_of(const Word<Status> (&words)[N], std::string_view word) {
  for (const Word<Status>& w : words)
    if (w.word == word) return w.status;
  return std::nullopt;
}

// RFC 8555 §7.1.6
constexpr Word<OrderStatus> kOrderWords[] = {{"pending", OrderStatus::Pending},
                                             {"ready", OrderStatus::Ready},
                                             {"processing", OrderStatus::Processing},
                                             {"valid", OrderStatus::Valid},
                                             {"invalid", OrderStatus::Invalid}};
constexpr Word<AuthorizationStatus> kAuthorizationWords[] = {
    {"pending", AuthorizationStatus::Pending},  {"valid", AuthorizationStatus::Valid},
    {"invalid", AuthorizationStatus::Over},     {"deactivated", AuthorizationStatus::Over},
    {"expired", AuthorizationStatus::Over},     {"revoked", AuthorizationStatus::Over}};
constexpr Word<ChallengeStatus> kChallengeWords[] = {
    {"pending", ChallengeStatus::Pending},
    {"processing", ChallengeStatus::Processing},
    {"valid", ChallengeStatus::Valid},
    {"invalid", ChallengeStatus::Invalid}};

// RFC 8555 §8.3: the alphabet of base64url; a token becomes part of a path.
bool is_token(std::string_view s) {
  return !s.empty() && s.size() <= kTokenBytesMax && std::ranges::all_of(s, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
  });
}

std::optional<OfferedChallenge> challenge_of(const json_t* j) {
  OfferedChallenge out;
  out.type = readable(text_at(j, "type"));
  out.url = url_at(j, "url");
  out.token = text_at(j, "token");
  const auto status = status_of(kChallengeWords, text_at(j, "status"));
  if (out.type.empty() || out.url.empty() || !is_token(out.token) || !status) return std::nullopt;
  out.status = *status;
  out.error = error_at(j);
  return out;
}

}  // namespace

Result<Directory> parse_directory(std::string_view json) {
  const Json j = load(json);
  Directory out;
  out.new_nonce = url_at(j.get(), "newNonce");
  out.new_account = url_at(j.get(), "newAccount");
  out.new_order = url_at(j.get(), "newOrder");
  out.renewal_info = url_at(j.get(), "renewalInfo");
  const json_t* meta = json_object_get(j.get(), "meta");
  out.terms = url_at(meta, "termsOfService");
  out.needs_external_account = json_is_true(json_object_get(meta, "externalAccountRequired"));
  if (out.new_nonce.empty() || out.new_account.empty() || out.new_order.empty())
    return wrong("directory");
  return out;
}

Problem parse_problem(std::string_view body) {
  const Json j = load(body);
  Problem out = problem_of(j.get());
  if (out.detail.empty()) out.detail = readable(body.substr(0, 200));
  return out;
}

Result<Order> parse_order(std::string_view json) {
  const Json j = load(json);
  Order out;
  const auto status = status_of(kOrderWords, text_at(j.get(), "status"));
  const json_t* list = json_object_get(j.get(), "authorizations");
  out.finalize = url_at(j.get(), "finalize");
  out.certificate = url_at(j.get(), "certificate");
  out.error = error_at(j.get());
  if (!status || out.finalize.empty() || json_array_size(list) > limits::kAcmeUrlsMax)
    return wrong("order");
  out.status = *status;
  for (std::size_t i = 0; i < json_array_size(list); ++i) {
    const std::string_view url = text_of(json_array_get(list, i));
    if (!http::parse_https_url(url)) return wrong("order");
    out.authorizations.emplace_back(url);
  }
  return out;
}

Result<Authorization> parse_authorization(std::string_view json) {
  const Json j = load(json);
  Authorization out;
  out.name = readable(text_at(json_object_get(j.get(), "identifier"), "value"));
  out.wildcard = json_is_true(json_object_get(j.get(), "wildcard"));
  out.status_word = readable(text_at(j.get(), "status"));
  const auto status = status_of(kAuthorizationWords, out.status_word);
  const json_t* list = json_object_get(j.get(), "challenges");
  if (!status || out.name.empty() || out.name.size() > 253) return wrong("authorization");
  out.status = *status;
  const std::size_t count = std::min(json_array_size(list), kChallengesMax);
  for (std::size_t i = 0; i < count; ++i)
    if (auto challenge = challenge_of(json_array_get(list, i)))
      out.challenges.push_back(std::move(*challenge));
  return out;
}

Result<Account> parse_account(std::string_view json) {
  const Json j = load(json);
  if (!json_is_object(j.get())) return wrong("account");
  return Account{readable(text_at(j.get(), "status"))};
}

Result<RenewalWindow> parse_renewal_info(std::string_view json) {
  const Json j = load(json);
  const json_t* window = json_object_get(j.get(), "suggestedWindow");
  const auto start = parse_rfc3339(text_at(window, "start"));
  const auto end = parse_rfc3339(text_at(window, "end"));
  // RFC 9773 §4.2: a window that ends before it begins is to be ignored.
  if (!start || !end || *end <= *start) return wrong("renewal information");
  return RenewalWindow{*start, *end};
}

}  // namespace adit::acme
