// The life of a certificate on a virtual clock: issued, renewed, and all that may go wrong with the
// server that issues it.
#include "service/renewal/renewal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/limits_acme.h"
#include "base/log.h"
#include "crypto/der_writer.h"
#include "crypto/pem.h"
#include "proto/acme/fake_server.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_world.h"

namespace adit::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kDay = 86400;
constexpr std::uint8_t kEcdsaWithSha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
constexpr std::uint8_t kSubjectAltName[] = {0x55, 0x1d, 0x11};
constexpr std::uint8_t kAuthorityKeyIdentifier[] = {0x55, 0x1d, 0x23};
constexpr std::uint8_t kOne[] = {1}, kTwo[] = {2}, kZero[] = {0};
constexpr std::uint8_t kAuthority[] = {0x80, 4, 'a', 'u', 't', 'h'};

// As an authority would issue it; its signature is not looked at here.
std::string issue(const crypto::PrivateKey& key, const std::vector<std::string>& names,
                  std::int64_t from, std::int64_t until) {
  using crypto::der;
  const ByteVector algorithm =
      der(crypto::kDerSequence, {der(crypto::kDerObjectId, kEcdsaWithSha256)});
  const ByteVector alternative = der(
      crypto::kDerSequence, {der(crypto::kDerObjectId, kSubjectAltName),
                             der(crypto::kDerOctetString, *crypto::der_general_names(names))});
  const ByteVector authority =
      der(crypto::kDerSequence,
          {der(crypto::kDerObjectId, kAuthorityKeyIdentifier),
           der(crypto::kDerOctetString, der(crypto::kDerSequence, Bytes(kAuthority)))});
  const ByteVector body = der(
      crypto::kDerSequence,
      {der(0xa0, der(crypto::kDerInteger, kTwo)), der(crypto::kDerInteger, kOne), algorithm,
       der(crypto::kDerSequence, Bytes{}),
       der(crypto::kDerSequence, {*crypto::der_time(from), *crypto::der_time(until)}),
       der(crypto::kDerSequence, Bytes{}), key.public_key_spki_der(),
       der(0xa3, der(crypto::kDerSequence, {alternative, authority}))});
  return crypto::to_pem("CERTIFICATE",
                        der(crypto::kDerSequence, {body, algorithm,
                                                   der(crypto::kDerBitString, kZero)}));
}

// One machine with a certificate to keep, and the server that it asks.
class RenewalTest : public testing::Test,
                    protected service::CertificateOwner,
                    protected service::Prover {
 protected:
  class Fetcher final : public service::Fetcher {
   public:
    explicit Fetcher(RenewalTest& test)
        : test_(test), answer_(test.loop(), Delegate<void()>::to<&Fetcher::on_answer>(this)) {}
    void fetch(const http::Request& request, Done done) override {
      request_ = request;
      done_ = done;
      ++test_.requests;
      answer_.set(test_.loop().now() + (test_.away ? 5s : 10ms));
    }
    void rest() override { answer_.stop(); }

   private:
    void on_answer() {
      if (test_.away) return done_(Error{ETIMEDOUT, "no answer in time"});
      test_.server.chain = test_.next_chain();
      const auto answer = test_.server.answer(request_);
      CHECK(answer);
      done_(*answer);
    }
    RenewalTest& test_;
    http::Request request_;
    Done done_;
    io::Timer answer_;
  };

  RenewalTest()
      : host_(world.add_host("a", {IpAddress::v4(192, 0, 2, 1)})),
        folder_(std::filesystem::path(testing::TempDir()) /
                ("adit_renewal_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(folder_);
    if (host_.loop_count() == 0) host_.add_loop();
    told_ = std::make_unique<io::Timer>(loop(),
                                        Delegate<void()>::to<&RenewalTest::on_told>(this));
  }
  ~RenewalTest() override {
    renewal.reset();
    std::filesystem::remove_all(folder_);
  }

  io::Loop& loop() { return host_.loop(0); }
  std::int64_t wall() { return loop().wall_time().seconds(); }

  // A process starts (again) with what is on disk.
  void start(std::vector<std::string> names = {"a.test"}) {
    service::RenewalSettings settings;
    settings.directory = "https://ca.test/directory";
    settings.account_path = folder_ / "accounts.json";
    settings.chain_path = folder_ / "a.pem";
    settings.key_pem = key.to_pkcs8_pem();
    settings.seed = 7;
    settings.renew_before = renew_before;
    renewal.reset();
    renewal = std::make_unique<service::Renewal>(
        loop(), log_, metrics, std::move(settings), std::make_unique<Fetcher>(*this),
        static_cast<service::Prover&>(*this), static_cast<service::CertificateOwner&>(*this));
    renewal->set_names(std::move(names));
  }
  bool runs_until_taken(std::size_t count, Duration limit) {
    return world.run_until([this, count] { return taken.size() >= count; }, limit);
  }
  std::string next_chain() {
    if (!broken_chain.empty()) return broken_chain;
    const std::int64_t from = wall() + valid_from;
    return issue(key, server.names, from, from + lifetime_days * kDay);
  }

  Status on_certificate(const std::string& chain_pem) override {
    taken.push_back(chain_pem);
    return {};
  }
  void prove(const std::vector<acme::Proof>& proofs, Done done) override {
    shown += proofs.size();
    done_ = done;
    told_->set(loop().now());
  }
  void withdraw(const std::vector<acme::Proof>& proofs) override { shown -= proofs.size(); }
  void on_told() { done_({}); }

  World world{1};
  acme::FakeServer server;
  crypto::PrivateKey key = crypto::PrivateKey::generate();
  Metrics metrics;
  bool away = false;
  std::size_t requests = 0, shown = 0;
  std::int64_t lifetime_days = 90, valid_from = -3600;
  std::string broken_chain;
  Duration renew_before{0};
  std::vector<std::string> taken;
  std::unique_ptr<service::Renewal> renewal;

 private:
  Host& host_;
  std::filesystem::path folder_;
  NullLog log_;
  Done done_;
  std::unique_ptr<io::Timer> told_;
};

TEST_F(RenewalTest, IssuesAndRenewsAtAThirdOfTheLifetimeLeft) {
  start();
  EXPECT_EQ(renewal->status().state, "issuing");
  ASSERT_TRUE(runs_until_taken(1, 1min));
  EXPECT_EQ(shown, 0u) << "what was proven is withdrawn";
  EXPECT_EQ(renewal->status().state, "valid");
  const std::int64_t first = wall();
  ASSERT_TRUE(runs_until_taken(2, 24h * 70));
  const std::int64_t after_days = (wall() - first) / kDay;
  EXPECT_GE(after_days, 60 - 4);
  EXPECT_LE(after_days, 60);
  EXPECT_EQ(server.accounts, 1u) << "the account is kept";
  EXPECT_EQ(server.last_replaces, "YXV0aA.AQ");
}

TEST_F(RenewalTest, DaysBeforeTheEndMayBeSaid) {
  renew_before = 24h * 10;
  start();
  ASSERT_TRUE(runs_until_taken(1, 1min));
  const std::int64_t first = wall();
  ASSERT_TRUE(runs_until_taken(2, 24h * 90));
  EXPECT_GE((wall() - first) / kDay, 80 - 4);
  // Longer than the certificate lives: not a renewal without end.
  renew_before = 24h * 400;
  start();
  const std::size_t orders = server.orders;
  world.run_for(24h * 90);
  EXPECT_LE(server.orders - orders, 4u);
}

TEST_F(RenewalTest, ServerAwayForAnHour) {
  start();
  ASSERT_TRUE(runs_until_taken(1, 1min));
  world.run_for(24h * 56);
  away = true;
  ASSERT_TRUE(world.run_until([this] { return renewal->status().failures > 0; }, 24h * 5));
  const std::size_t before = requests;
  world.run_for(1h);
  EXPECT_LE(requests - before, 60u) << "it does not hammer";
  EXPECT_EQ(renewal->status().state, "valid") << "the old one serves";
  EXPECT_NE(renewal->status().trouble.find("cannot be reached"), std::string::npos);
  EXPECT_GT(renewal->status().next_try, wall());
  away = false;
  ASSERT_TRUE(runs_until_taken(2, 15min));
  EXPECT_EQ(renewal->status().failures, 0u);
  EXPECT_EQ(renewal->status().trouble, "");
}

TEST_F(RenewalTest, RateLimitIsKept) {
  http::Response answer;
  acme::FakeServer::problem(answer, 429, "rateLimited", "too many");
  answer.fields.emplace_back("retry-after", "7200");
  server.instead["/order"] = answer;
  start();
  ASSERT_TRUE(world.run_until([this] { return renewal->status().failures > 0; }, 1min));
  const std::size_t before = requests;
  world.run_for(119min);
  EXPECT_EQ(requests, before);
  server.instead.clear();
  EXPECT_TRUE(runs_until_taken(1, 20min));
}

TEST_F(RenewalTest, RefusalsBackOff) {
  server.challenge_fails = true;
  start();
  world.run_for(24h);
  EXPECT_GE(server.orders, 5u);
  EXPECT_LE(server.orders, 10u);
  EXPECT_TRUE(taken.empty());
  EXPECT_EQ(shown, 0u);
  EXPECT_EQ(renewal->status().state, "self_signed");
  server.challenge_fails = false;
  EXPECT_TRUE(runs_until_taken(1, 8h));
}

TEST_F(RenewalTest, WhatIsNotProvenDoesNotServe) {
  const crypto::PrivateKey other = crypto::PrivateKey::generate();
  const std::string bad[] = {
      issue(other, {"a.test"}, wall() - 3600, wall() + kDay),
      issue(key, {"a.test"}, wall() - 2 * kDay, wall() - kDay),
      "no certificate at all",
  };
  for (const std::string& chain : bad) {
    broken_chain = chain;
    start();
    ASSERT_TRUE(world.run_until([this] { return renewal->status().failures > 0; }, 1min));
    EXPECT_TRUE(taken.empty());
  }
}

TEST_F(RenewalTest, ClockThatIsBehind) {
  // The first is better than none.
  valid_from = 3600;
  start();
  ASSERT_TRUE(runs_until_taken(1, 1min));
  // Its successor waits for its time.
  ASSERT_TRUE(world.run_until([this] { return server.orders == 2; }, 24h * 70));
  world.run_for(30min);
  EXPECT_EQ(taken.size(), 1u);
  EXPECT_EQ(renewal->status().state, "valid");
  world.run_for(40min);
  EXPECT_EQ(taken.size(), 2u);
  EXPECT_EQ(server.orders, 2u);
}

TEST_F(RenewalTest, StartsWithWhatIsOnDisk) {
  start();
  ASSERT_TRUE(runs_until_taken(1, 1min));
  away = true;
  start();
  EXPECT_EQ(taken.size(), 2u) << "at once, and without the server";
  EXPECT_EQ(taken[0], taken[1]);
  world.run_for(24h * 91);
  EXPECT_EQ(renewal->status().state, "self_signed");
  start();
  EXPECT_EQ(taken.size(), 2u) << "one that has expired is not taken";
}

TEST_F(RenewalTest, NamesThatCome) {
  start();
  ASSERT_TRUE(world.run_until([this] { return server.orders == 1; }, 1min));
  renewal->set_names({"a.test", "b.test"});  // amid the order
  ASSERT_TRUE(runs_until_taken(2, 5min));
  EXPECT_EQ(server.names, (std::vector<std::string>{"a.test", "b.test"}));
  EXPECT_EQ(server.orders, 2u);
  renewal->set_names({"b.test"});  // covered
  world.run_for(1h);
  EXPECT_EQ(server.orders, 2u);
}

TEST_F(RenewalTest, ServerSaysWhenToRenew) {
  http::Response answer;
  answer.status = 200;
  answer.body = R"({"suggestedWindow":{"start":"2026-01-05T00:00:00Z","end":)"
                R"("2026-01-06T00:00:00Z"}})";
  server.instead["/ari/YXV0aA.AQ"] = answer;
  start();
  ASSERT_TRUE(runs_until_taken(1, 1min));
  ASSERT_TRUE(runs_until_taken(2, 24h * 10));
  EXPECT_GE(wall(), 1767571200);
  EXPECT_LE(wall(), 1767571200 + kDay + 3600);
  // A window far behind the end is not waited for, and one that is gone is now.
  server.instead["/ari/YXV0aA.AQ"].body =
      R"({"suggestedWindow":{"start":"2036-01-05T00:00:00Z","end":"2036-01-06T00:00:00Z"}})";
  ASSERT_TRUE(runs_until_taken(3, 24h * 62));
}

}  // namespace
}  // namespace adit::sim
