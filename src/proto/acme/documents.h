// What an ACME server says, read strictly and bounded (RFC 8555 §7.1, §6.7; RFC 9773 §4.2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace adit::acme {

struct Directory {
  std::string new_nonce, new_account, new_order;
  std::string renewal_info;  // empty: the server does not say when to renew
  std::string terms;         // URL of the terms of service; may be empty
  bool needs_external_account = false;
};
Result<Directory> parse_directory(std::string_view json);

struct Problem {
  std::string type;    // without "urn:ietf:params:acme:error:"; empty: not of ACME
  std::string detail;  // for people; what subproblems say included
};
// Of an answer's body, whatever it is: at the least a Problem with the beginning of the text.
Problem parse_problem(std::string_view body);

enum class OrderStatus : std::uint8_t { Pending, Ready, Processing, Valid, Invalid };
struct Order {
  OrderStatus status = OrderStatus::Pending;
  std::vector<std::string> authorizations;
  std::string finalize, certificate;
  std::optional<Problem> error;
};
Result<Order> parse_order(std::string_view json);

enum class AuthorizationStatus : std::uint8_t { Pending, Valid, Over };  // Over: of no use any more
enum class ChallengeStatus : std::uint8_t { Pending, Processing, Valid, Invalid };
struct OfferedChallenge {
  std::string type, url, token;
  ChallengeStatus status = ChallengeStatus::Pending;
  std::optional<Problem> error;
};
struct Authorization {
  std::string name;  // of a wildcard without its "*."
  bool wildcard = false;
  AuthorizationStatus status = AuthorizationStatus::Pending;
  std::string status_word;
  std::vector<OfferedChallenge> challenges;  // those of known form

  std::string pattern() const { return wildcard ? "*." + name : name; }
};
Result<Authorization> parse_authorization(std::string_view json);

struct Account {
  std::string status;
};
Result<Account> parse_account(std::string_view json);

// Seconds since 1970.
struct RenewalWindow {
  std::int64_t start = 0, end = 0;
};
Result<RenewalWindow> parse_renewal_info(std::string_view json);

// Retry-After (RFC 9110 §10.2.3): seconds, or a date. Nothing where it says nothing that can be
// understood; a time gone by is 0, one beyond a year a year.
std::optional<Duration> parse_retry_after(std::string_view text, WallTime now);
// IMF-fixdate (RFC 9110 §5.6.7), seconds since 1970.
std::optional<std::int64_t> parse_http_date(std::string_view text);
// RFC 3339, seconds since 1970; fractions are dropped.
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

}  // namespace adit::acme
