#include "service/probe/probe.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace adit::service {
namespace {

const ByteVector kRandom(32, 0xab);

std::string answer(bool service, ProbeAnswer::Certificate certificate) {
  return probe_answer_text(kRandom, {service, certificate});
}

TEST(Probe, Answers) {
  std::string hex;
  for (int i = 0; i < 32; ++i) hex += "ab";
  EXPECT_EQ(answer(true, ProbeAnswer::Certificate::None),
            "adit-probed/1 " + hex + " service=ok certificate=none\n");
  EXPECT_EQ(answer(false, ProbeAnswer::Certificate::Expired),
            "adit-probed/1 " + hex + " service=down certificate=expired\n");
}

TEST(Probe, Judges) {
  using Certificate = ProbeAnswer::Certificate;
  const struct {
    const char* what;
    std::string received;
    bool ended;
    std::optional<ProbeLeg> leg;
  } rows[] = {
      {"nothing yet", "", false, std::nullopt},
      {"a part", "adit-probed/1 ab", false, std::nullopt},
      {"closed", "", true, ProbeLeg::Routing},
      {"cut off", "adit-probed/1 ab", true, ProbeLeg::Answer},
      {"all is well", answer(true, Certificate::Ok), false, ProbeLeg::None},
      {"passed through", answer(true, Certificate::None), true, ProbeLeg::None},
      {"no service", answer(false, Certificate::Ok), false, ProbeLeg::Service},
      {"expired", answer(true, Certificate::Expired), false, ProbeLeg::Certificate},
      {"both", answer(false, Certificate::Expired), false, ProbeLeg::Certificate},
      {"an alert", std::string("\x15\x03\x03\x00\x02\x02\x70", 7), false, ProbeLeg::Routing},
      {"a web server", "HTTP/1.1 400 Bad Request\r\n", false, ProbeLeg::Answer},
      {"no line", std::string(256, 'x'), false, ProbeLeg::Answer},
      {"another's", probe_answer_text(ByteVector(32, 1), {true, Certificate::Ok}), false,
       ProbeLeg::Answer},
  };
  for (const auto& row : rows) {
    const auto result = judge_probe(row.received, row.ended, kRandom);
    ASSERT_EQ(result.has_value(), row.leg.has_value()) << row.what;
    if (!result) continue;
    EXPECT_EQ(result->leg, *row.leg) << row.what;
    EXPECT_EQ(result->what.empty(), *row.leg == ProbeLeg::None) << row.what;
  }
}

TEST(Probe, FindsTheRandomOfAHello) {
  ByteVector hello{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
  hello.insert(hello.end(), kRandom.begin(), kRandom.end());
  const auto random = random_of_hello(hello);
  ASSERT_TRUE(random);
  EXPECT_TRUE(std::equal(random->begin(), random->end(), kRandom.begin(), kRandom.end()));
  EXPECT_FALSE(random_of_hello(Bytes(hello).first(42)));
  hello[5] = 2;
  EXPECT_FALSE(random_of_hello(hello));
  EXPECT_FALSE(random_of_hello({}));
}

TEST(Probe, LegsHaveNames) {
  EXPECT_EQ(name(ProbeLeg::None), "none");
  EXPECT_EQ(name(ProbeLeg::Service), "service");
}

}  // namespace
}  // namespace adit::service
