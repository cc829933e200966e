#include "proto/acme/documents.h"

#include <gtest/gtest.h>

#include "proto/acme/client.h"

namespace adit::acme {
namespace {

TEST(AcmeTimes, Rfc3339) {
  struct Row {
    const char* text;
    std::optional<std::int64_t> want;
  };
  const Row rows[] = {{"1970-01-01T00:00:00Z", 0},
                      {"2025-01-02T04:00:00Z", 1735790400},
                      {"2025-01-02T04:00:00.123456Z", 1735790400},
                      {"2025-01-02T05:30:00+01:30", 1735790400},
                      {"2025-01-01T20:00:00-08:00", 1735790400},
                      {"2025-13-02T04:00:00Z", std::nullopt},
                      {"2025-02-30T04:00:00Z", std::nullopt},
                      {"2025-01-02T04:00:00", std::nullopt},
                      {"2025-01-02T04:00:00.Z", std::nullopt},
                      {"2025-01-02T04:00:00+1:30", std::nullopt},
                      {"", std::nullopt}};
  for (const Row& row : rows) EXPECT_EQ(parse_rfc3339(row.text), row.want) << row.text;
}

TEST(AcmeTimes, RetryAfter) {
  const WallTime now{784'111'777'000'000'000};  // Sun, 06 Nov 1994 08:49:37 GMT
  struct Row {
    const char* text;
    std::optional<Duration> want;
  };
  const Row rows[] = {{"0", Duration{0}},
                      {"120", 120s},
                      {"99999999999999", 24h * 365},
                      {"Sun, 06 Nov 1994 08:50:37 GMT", 60s},
                      {"Sun, 06 Nov 1994 08:00:00 GMT", Duration{0}},
                      {"Sun, 06 Nov 1994 08:50:37 CET", std::nullopt},
                      {"soon", std::nullopt},
                      {"-5", std::nullopt},
                      {"", std::nullopt}};
  for (const Row& row : rows) EXPECT_EQ(parse_retry_after(row.text, now), row.want) << row.text;
}

TEST(AcmeDocuments, RenewalInfo) {
  const auto window = parse_renewal_info(
      R"({"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00Z"}})");
  ASSERT_TRUE(window);
  EXPECT_EQ(window->start, 1735790400);
  EXPECT_EQ(window->end, 1735876800);
  EXPECT_FALSE(parse_renewal_info(
      R"({"suggestedWindow":{"start":"2025-01-03T04:00:00Z","end":"2025-01-02T04:00:00Z"}})"));
  EXPECT_FALSE(parse_renewal_info("{}"));
}

// RFC 9773 §4.1, its example.
TEST(AcmeDocuments, AriId) {
  const auto id = [](std::string_view aki, std::string_view serial) {
    return ari_id(*crypto::base64url_decode(aki), *crypto::base64url_decode(serial));
  };
  EXPECT_EQ(id("aYhba4dGQEHhs3uEe6CuLN4ByNQ", "AIdlQyE"), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
  EXPECT_EQ(id("", "AIdlQyE"), "");
}

TEST(AcmeDocuments, ProblemsAreReadableWhateverComes) {
  const Problem whole = parse_problem(
      R"({"type":"urn:ietf:params:acme:error:compound","detail":"two\nfaults","subproblems":)"
      R"([{"detail":"no","identifier":{"value":"a.test"}},{"detail":"nor this"}]})");
  EXPECT_EQ(whole.type, "compound");
  EXPECT_EQ(whole.detail, "two faults; a.test: no; nor this");
  EXPECT_EQ(parse_problem("<html>502</html>").detail, "<html>502</html>");
  EXPECT_EQ(parse_problem("").detail, "");
  EXPECT_EQ(parse_problem(R"({"type":"about:blank","title":"Forbidden"})").detail, "Forbidden");
  EXPECT_LE(parse_problem(R"({"detail":")" + std::string(5000, 'x') + "\"}").detail.size(), 600u);
}

TEST(AcmeDocuments, ChallengesWithTokensThatAreNoneAreLeftOut) {
  const auto a = parse_authorization(
      R"({"status":"pending","identifier":{"value":"a.test"},"challenges":[)"
      R"({"type":"http-01","url":"https://ca.test/1","token":"../../x","status":"pending"},)"
      R"({"type":"http-01","url":"https://ca.test/1","token":"ok","status":"pending"}]})");
  ASSERT_TRUE(a);
  ASSERT_EQ(a->challenges.size(), 1u);
  EXPECT_EQ(a->challenges[0].token, "ok");
}

}  // namespace
}  // namespace adit::acme
