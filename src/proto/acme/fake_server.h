// For tests: an ACME server in memory, as RFC 8555 has it, with the faults that tests ask for.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/key.h"
#include "proto/acme/client.h"

namespace adit::acme {

class FakeServer {
 public:
  // --- faults ---
  unsigned bad_nonces = 0;            // so many signed requests are refused for their nonce
  unsigned silent = 0;                // so many requests get no answer
  bool nonce_in_answers = true;
  bool authorizations_valid = false;  // from an earlier order
  bool challenge_fails = false;
  bool order_fails = false;           // at finalize
  bool no_challenge_of_kind = false;
  bool forgets_account = false;       // the next use of an account URL is refused
  bool wants_binding = false;
  bool refuses_replaces = false;
  unsigned polls_until_valid = 1;
  std::string retry_after;            // of polls
  // The answer to every request whose URL ends so.
  std::map<std::string, http::Response> instead;
  std::string chain;                  // of Issued; empty: made of the order's first name

  // --- what was seen ---
  std::vector<std::string> seen;      // "POST /order", in order
  unsigned orders = 0, accounts = 0;
  std::string last_replaces, contact, binding;
  std::vector<std::string> names;

  static constexpr const char* kBase = "https://ca.test";

  // Nothing: no answer.
  std::optional<http::Response> answer(const http::Request& request) {
    if (silent > 0) return --silent, std::nullopt;
    const std::string path = request.url.substr(std::string_view(kBase).size());
    seen.push_back(request.method + " " + path);
    http::Response out;
    out.status = 200;
    for (const auto& [end, fixed] : instead)
      if (path.ends_with(end)) return fixed;
    if (path != "/directory" && (nonce_in_answers || path == "/nonce"))
      out.fields.emplace_back("replay-nonce", "nonce" + std::to_string(++nonces_));
    if (path == "/directory") {
      out.body = directory();
    } else if (request.method == "HEAD") {
    } else if (bad_nonces > 0) {
      --bad_nonces;
      problem(out, 400, "badNonce", "this nonce is stale");
    } else {
      on_post(path, request, out);
    }
    return out;
  }

  static void problem(http::Response& out, int status, const std::string& type,
                      const std::string& detail) {
    out.status = status;
    out.body = R"({"type":"urn:ietf:params:acme:error:)" + type + R"(","detail":")" + detail +
               "\"}";
  }

  // The text behind `mark`, up to the next quotation mark.
  static std::string quoted(const std::string& in, const std::string& mark) {
    const std::size_t at = in.find(mark);
    if (at == in.npos) return {};
    const std::size_t from = at + mark.size();
    return in.substr(from, in.find('"', from) - from);
  }
  // Of a signed request: "payload" or "protected".
  static std::string part(const http::Request& request, const std::string& key) {
    const auto bytes = crypto::base64url_decode(quoted(request.body, "\"" + key + "\":\""));
    return bytes ? std::string(as_text(*bytes)) : std::string();
  }

 private:
  std::string directory() const {
    return std::string(R"({"newNonce":"https://ca.test/nonce","newAccount":"https://ca.test/)") +
           R"(account","newOrder":"https://ca.test/order","renewalInfo":"https://ca.test/ari",)" +
           R"("meta":{"termsOfService":"https://ca.test/terms","externalAccountRequired":)" +
           (wants_binding ? "true" : "false") + "}}";
  }
  std::string order_status() const {
    if (failed_) return "invalid";
    if (finalized_) return polls_ >= polls_until_valid ? "valid" : "processing";
    return valid() ? "ready" : "pending";
  }
  bool valid() const { return authorizations_valid || (asked_ && polls_ >= polls_until_valid); }

  void order(http::Response& out) {
    out.body = R"({"status":")" + order_status() + R"(","finalize":"https://ca.test/finalize",)" +
               R"("authorizations":[)";
    for (std::size_t i = 0; i < names.size(); ++i)
      out.body += (i == 0 ? "" : ",") + ("\"https://ca.test/authz/" + std::to_string(i) + "\"");
    out.body += "]";
    if (failed_)
      out.body += R"(,"error":{"type":"urn:ietf:params:acme:error:caa","detail":"CAA forbids"})";
    if (finalized_) out.body += R"(,"certificate":"https://ca.test/chain")";
    out.body += "}";
  }

  void authorization(std::size_t i, http::Response& out) {
    if (asked_) ++polls_;
    if (!retry_after.empty()) out.fields.emplace_back("retry-after", retry_after);
    const bool bad = asked_ && challenge_fails;
    const std::string status = bad ? "invalid" : valid() ? "valid" : "pending";
    std::string name = names[i];
    const bool wildcard = name.starts_with("*.");
    if (wildcard) name.erase(0, 2);
    out.body = R"({"status":")" + status + R"(","identifier":{"type":"dns","value":")" + name +
               R"("},"wildcard":)" + (wildcard ? "true" : "false") + R"(,"challenges":[)";
    for (const char* type : {"dns-01", "http-01", "tls-alpn-01"}) {
      if (no_challenge_of_kind && type == std::string_view("tls-alpn-01")) continue;
      if (out.body.back() != '[') out.body += ",";
      out.body += std::string(R"({"type":")") + type + R"(","url":"https://ca.test/challenge/)" +
                  std::to_string(i) + R"(","token":"tok-)" + std::to_string(i) +
                  R"(","status":")" + status + "\"";
      if (bad) out.body += R"(,"error":{"type":"urn:ietf:params:acme:error:connection",)"
                           R"("detail":"connection refused"})";
      out.body += "}";
    }
    out.body += "]}";
  }

  void on_post(const std::string& path, const http::Request& request, http::Response& out) {
    const std::string payload = part(request, "payload");
    const std::string mail = quoted(payload, "\"contact\":[\"");
    if (path != "/account" && forgets_account) {
      forgets_account = false;
      problem(out, 400, "accountDoesNotExist", "no such account");
    } else if (path == "/account") {
      ++accounts;
      contact = mail;
      binding = quoted(payload, "\"protected\":\"");
      out.status = 201;
      out.fields.emplace_back("location", "https://ca.test/acct/1");
      out.body = R"({"status":"valid"})";
    } else if (path.starts_with("/acct/")) {
      contact = mail;
      out.body = R"({"status":"valid"})";
    } else if (path == "/order") {
      last_replaces = quoted(payload, "\"replaces\":\"");
      if (refuses_replaces && !last_replaces.empty()) {
        problem(out, 409, "alreadyReplaced", "replaced already");
      } else {
        new_order(payload, out);
      }
    } else if (path == "/order/1") {
      if (finalized_) ++polls_;
      order(out);
    } else if (path.starts_with("/authz/")) {
      authorization(static_cast<std::size_t>(std::stoul(path.substr(7))), out);
    } else if (path.starts_with("/challenge/")) {
      asked_ = true;
      polls_ = 0;
      out.body = R"({"status":"processing"})";
    } else if (path == "/finalize") {
      finalized_ = true;
      failed_ = order_fails;
      polls_ = 0;
      order(out);
    } else if (path == "/chain") {
      out.body = chain.empty() ? default_chain() : chain;
    } else {
      out.status = 404;
    }
  }

  void new_order(std::string payload, http::Response& out) {
    ++orders;
    asked_ = finalized_ = failed_ = false;
    polls_ = 0;
    names.clear();
    const std::string mark = "\"value\":\"";
    while (payload.find(mark) != payload.npos) {
      names.push_back(quoted(payload, mark));
      payload.erase(0, payload.find(mark) + mark.size());
    }
    out.status = 201;
    out.fields.emplace_back("location", "https://ca.test/order/1");
    order(out);
  }

  std::string default_chain() const {
    const auto key = crypto::PrivateKey::generate();
    auto pem = crypto::self_signed(key, names, WallTime{1'700'000'000'000'000'000}, 24h * 90);
    return pem ? *pem : std::string();
  }

  unsigned nonces_ = 0, polls_ = 0;
  bool asked_ = false, finalized_ = false, failed_ = false;
};

}  // namespace adit::acme
