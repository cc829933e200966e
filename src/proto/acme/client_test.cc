#include "proto/acme/client.h"

#include <gtest/gtest.h>

#include "base/limits_acme.h"
#include "crypto/jose.h"
#include "proto/acme/fake_server.h"

namespace adit::acme {
namespace {

const crypto::PrivateKey& account_key() {
  static const crypto::PrivateKey key = crypto::PrivateKey::generate();
  return key;
}
const crypto::PrivateKey& certificate_key() {
  static const crypto::PrivateKey key = crypto::PrivateKey::generate();
  return key;
}

OrderOptions options_for(std::vector<std::string> names) {
  OrderOptions out;
  out.directory = "https://ca.test/directory";
  out.account_key = &account_key();
  out.certificate_key = &certificate_key();
  out.names = std::move(names);
  return out;
}

// One order against the server, on a virtual clock.
struct Attempt {
  FakeServer server;
  OrderOptions options = options_for({"a.test"});
  Instant now{1'000'000'000};
  std::vector<Proof> proofs;
  std::vector<Duration> waits;
  AccountState account;
  Step last = Wait{};
  WallTime wall{1'700'000'000'000'000'000};

  void go() {
    Client client(options);
    Step step = client.start(now);
    for (int turns = 0; turns < 2000; ++turns) {
      if (const auto* send = std::get_if<Send>(&step)) {
        now = now + 10ms;
        const auto answer = server.answer(send->request);
        step = answer ? client.on_response(now, wall, *answer)
                      : client.on_unreachable(now, Error{ETIMEDOUT, "no answer"});
      } else if (const auto* wait = std::get_if<Wait>(&step)) {
        ASSERT_GT(wait->until, now);
        waits.push_back(wait->until - now);
        now = wait->until;
        step = client.on_time(now);
      } else if (const auto* prove = std::get_if<Prove>(&step)) {
        proofs = prove->proofs;
        step = client.on_proven(now);
      } else {
        account = client.account();
        last = std::move(step);
        return;
      }
    }
    FAIL() << "it does not end";
  }
  bool issued() const { return std::holds_alternative<Issued>(last); }
  const Failure& failure() const {
    static const Failure none{};
    const auto* f = std::get_if<Failure>(&last);
    EXPECT_NE(f, nullptr) << "it did not fail";
    return f == nullptr ? none : *f;
  }
  std::size_t count(const std::string& request) const {
    return static_cast<std::size_t>(std::count(server.seen.begin(), server.seen.end(), request));
  }
};

TEST(AcmeClient, WholeOrder) {
  Attempt run;
  run.options.email = "me@a.test";
  run.go();
  ASSERT_TRUE(run.issued());
  const std::vector<std::string> want = {
      "GET /directory", "HEAD /nonce",   "POST /account",     "POST /order",
      "POST /authz/0",  "POST /challenge/0", "POST /authz/0", "POST /order/1",
      "POST /finalize", "POST /order/1", "POST /chain"};
  EXPECT_EQ(run.server.seen, want);
  EXPECT_EQ(run.server.contact, "mailto:me@a.test");
  EXPECT_EQ(run.account.url, "https://ca.test/acct/1");
  ASSERT_EQ(run.proofs.size(), 1u);
  EXPECT_EQ(run.proofs[0].name, "a.test");
  EXPECT_EQ(run.proofs[0].key_authorization,
            "tok-0." + *crypto::jwk_thumbprint(account_key()));
  EXPECT_EQ(run.proofs[0].dns_value, crypto::base64url_encode(run.proofs[0].digest));
}

TEST(AcmeClient, KnownAccountIsUsedAndToldOfANewAddress) {
  Attempt run;
  run.options.account = {"https://ca.test/acct/7", "old@a.test"};
  run.options.email = "new@a.test";
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(run.server.accounts, 0u);
  EXPECT_EQ(run.count("POST /acct/7"), 1u);
  EXPECT_EQ(run.server.contact, "mailto:new@a.test");
  EXPECT_EQ(run.account.contact, "new@a.test");
  run.server.seen.clear();
  run.options.account = run.account;
  run.go();
  EXPECT_EQ(run.count("POST /acct/7"), 0u);
}

TEST(AcmeClient, ForgottenAccountIsMadeAgain) {
  Attempt run;
  run.options.account = {"https://ca.test/acct/7", ""};
  run.server.forgets_account = true;
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(run.server.accounts, 1u);
  EXPECT_EQ(run.account.url, "https://ca.test/acct/1");
}

TEST(AcmeClient, ExternalAccountBinding) {
  Attempt run;
  run.server.wants_binding = true;
  run.go();
  EXPECT_EQ(run.failure().kind, FailureKind::Refused);
  EXPECT_NE(run.failure().error.what.find("--acme-eab-kid"), std::string::npos);
  EXPECT_EQ(run.server.accounts, 0u);

  run.options.eab_key_id = "kid-1";
  run.options.eab_key = ByteVector(32, 7);
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(std::string(as_text(*crypto::base64url_decode(run.server.binding))),
            R"({"alg":"HS256","kid":"kid-1","url":"https://ca.test/account"})");
}

TEST(AcmeClient, BadNonces) {
  Attempt run;
  run.server.bad_nonces = 3;
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(run.count("POST /account"), 4u);

  Attempt never;
  never.server.bad_nonces = 1000;
  never.go();
  EXPECT_EQ(never.failure().kind, FailureKind::Refused);
  EXPECT_EQ(never.count("POST /account"), limits::kAcmeNonceRetriesMax + 1);
}

TEST(AcmeClient, NoncesAreFetchedWhereAnswersBringNone) {
  Attempt run;
  run.server.nonce_in_answers = false;
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(run.count("HEAD /nonce"), 9u);  // one for each signed request
}

TEST(AcmeClient, AuthorizationsThatAreValidNeedNoProof) {
  Attempt run;
  run.options.names = {"a.test", "b.test"};
  run.server.authorizations_valid = true;
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_TRUE(run.proofs.empty());
  EXPECT_EQ(run.count("POST /challenge/0"), 0u);
}

TEST(AcmeClient, RateLimits) {
  for (const bool with_time : {true, false}) {
    Attempt run;
    http::Response answer;
    FakeServer::problem(answer, 429, "rateLimited", "too many certificates for a.test");
    if (with_time) answer.fields.emplace_back("retry-after", "7200");
    run.server.instead["/order"] = answer;
    run.go();
    EXPECT_EQ(run.failure().kind, FailureKind::RateLimited);
    EXPECT_EQ(run.failure().not_before, with_time ? Duration(2h) : limits::kAcmeRateLimitDefault);
    EXPECT_NE(run.failure().error.what.find("too many certificates"), std::string::npos);
  }
}

// The time is the server's: a clock of ours that is wrong by years does not matter.
TEST(AcmeClient, RetryAfterAsADateWithAWrongClock) {
  Attempt run;
  run.wall = WallTime{1'000'000'000'000'000'000};
  http::Response answer;
  FakeServer::problem(answer, 429, "rateLimited", "wait");
  answer.fields.emplace_back("date", "Mon, 01 Jan 2024 00:00:00 GMT");
  answer.fields.emplace_back("retry-after", "Mon, 01 Jan 2024 00:30:00 GMT");
  run.server.instead["/order"] = answer;
  run.go();
  EXPECT_EQ(run.failure().not_before, Duration(30min));
}

TEST(AcmeClient, ValidationFails) {
  Attempt run;
  run.server.challenge_fails = true;
  run.go();
  EXPECT_EQ(run.failure().kind, FailureKind::Refused);
  EXPECT_EQ(run.failure().error.what,
            "the ACME server could not validate a.test: connection: connection refused");
}

TEST(AcmeClient, OrderFails) {
  Attempt run;
  run.server.order_fails = true;
  run.go();
  EXPECT_EQ(run.failure().kind, FailureKind::Refused);
  EXPECT_EQ(run.failure().error.what, "the order failed: caa: CAA forbids");
}

TEST(AcmeClient, PollsAsTheServerSays) {
  Attempt run;
  run.server.retry_after = "5";
  run.server.polls_until_valid = 4;
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(std::count(run.waits.begin(), run.waits.end(), Duration(5s)), 3);
}

TEST(AcmeClient, PollingEnds) {
  Attempt run;
  run.server.polls_until_valid = 100000;
  run.go();
  EXPECT_EQ(run.failure().kind, FailureKind::Unreachable);
  EXPECT_LE(run.now, Instant{1'000'000'000} + limits::kAcmeAttemptMax);

  Attempt later;
  later.server.polls_until_valid = 3;
  later.server.retry_after = "86400";
  later.go();
  EXPECT_EQ(later.failure().not_before, Duration(24h));
}

TEST(AcmeClient, ShortSilenceIsBridgedLongOneIsNot) {
  Attempt run;
  run.server.silent = 2;
  run.go();
  ASSERT_TRUE(run.issued());

  Attempt away;
  away.server.silent = 1000;
  away.go();
  EXPECT_EQ(away.failure().kind, FailureKind::Unreachable);
  EXPECT_NE(away.failure().error.what.find("no answer"), std::string::npos);
}

TEST(AcmeClient, ServerInTrouble) {
  struct Row {
    int status;
    const char* retry_after;
    FailureKind kind;
    std::optional<Duration> not_before;
  };
  const Row rows[] = {{500, "", FailureKind::Unreachable, std::nullopt},
                      {502, "600", FailureKind::Unreachable, Duration(10min)},
                      {429, "60", FailureKind::RateLimited, Duration(1min)},
                      {404, "", FailureKind::Refused, std::nullopt},
                      {301, "", FailureKind::Refused, std::nullopt}};
  for (const Row& row : rows) {
    for (const char* where : {"/directory", "/nonce", "/account", "/finalize", "/chain"}) {
      Attempt run;
      http::Response answer;
      answer.status = row.status;
      if (*row.retry_after != 0) answer.fields.emplace_back("retry-after", row.retry_after);
      answer.body = "<html>";
      run.server.instead[where] = answer;
      run.go();
      EXPECT_EQ(run.failure().kind, row.kind) << row.status << where;
      EXPECT_EQ(run.failure().not_before, row.not_before) << row.status << where;
    }
  }
}

TEST(AcmeClient, AnswersThatMakeNoSense) {
  const char* bodies[] = {"", "[]", "null", "{}", R"({"status":"odd"})",
                          R"({"status":"valid","finalize":"http://plain.test/"})",
                          R"({"newNonce":"ftp://x","newAccount":1,"newOrder":[]})"};
  for (const char* where : {"/directory", "/account", "/order", "/authz/0", "/finalize",
                            "/order/1", "/chain"}) {
    for (const char* body : bodies) {
      Attempt run;
      http::Response answer;
      answer.status = 200;
      answer.body = body;
      run.server.instead[where] = answer;
      run.go();
      EXPECT_FALSE(run.issued()) << where << body;
    }
  }
}

TEST(AcmeClient, ChallengeOfTheWantedKindIsMissing) {
  Attempt run;
  run.server.no_challenge_of_kind = true;
  run.go();
  EXPECT_EQ(run.failure().error.what,
            "for a.test the ACME server does not take tls-alpn-01, but dns-01, http-01");
}

TEST(AcmeClient, WildcardsByDns) {
  Attempt run;
  run.options.names = {"a.test", "*.a.test"};
  run.options.challenge = ChallengeKind::Dns;
  run.go();
  ASSERT_TRUE(run.issued());
  ASSERT_EQ(run.proofs.size(), 2u);
  EXPECT_EQ(run.proofs[0].name, "a.test");
  EXPECT_EQ(run.proofs[1].name, "a.test");
  EXPECT_NE(run.proofs[0].dns_value, run.proofs[1].dns_value);
}

TEST(AcmeClient, ReplacesIsAHintOnly) {
  Attempt run;
  run.options.replaces = "aki.serial";
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(run.server.last_replaces, "aki.serial");
  run.server.refuses_replaces = true;
  run.go();
  ASSERT_TRUE(run.issued());
  EXPECT_EQ(run.server.last_replaces, "");
}

TEST(AcmeClient, WhatIsAskedMustMakeSense) {
  Attempt none;
  none.options.names = {};
  none.go();
  EXPECT_EQ(none.failure().kind, FailureKind::Refused);
  Attempt plain;
  plain.options.directory = "http://ca.test/directory";
  plain.go();
  EXPECT_NE(plain.failure().error.what.find("https"), std::string::npos);
  EXPECT_TRUE(plain.server.seen.empty());
}

}  // namespace
}  // namespace adit::acme
