#include "app/doctor.h"

#include <gtest/gtest.h>

namespace adit::app {
namespace {

constexpr std::int64_t kDay = 24 * 3600;
constexpr std::int64_t kNow = 1'600'000'000;  // 2020-09-13T12:26:40Z

TEST(Doctor, JudgesValidity) {
  const struct {
    const char* what;
    std::int64_t before, after;
    Verdict verdict;
    std::string said;
  } rows[] = {
      {"valid", kNow - 1, kNow + 60 * kDay, Verdict::Pass, "valid until 2020-11-12T12:26:40Z"},
      {"not yet", kNow + 1, kNow + 60 * kDay, Verdict::Fail, "not valid before"},
      {"over", kNow - 60 * kDay, kNow - 1, Verdict::Fail, "has expired on 2020-09-13T12:26:39Z"},
      {"nearly over", kNow - 60 * kDay, kNow + kDay, Verdict::Fail, "expires within 2 days"},
      {"short by design", kNow - kDay, kNow + 5 * kDay, Verdict::Pass, "valid until"},
  };
  for (const auto& row : rows) {
    const Finding f = judge_validity("certificate x", kNow, row.before, row.after);
    EXPECT_EQ(f.verdict, row.verdict) << row.what;
    EXPECT_TRUE(f.what.starts_with(row.said)) << row.what << ": " << f.what;
    EXPECT_EQ(f.cure.empty(), row.verdict == Verdict::Pass) << row.what;
  }
}

TEST(Doctor, JudgesTheClock) {
  EXPECT_EQ(judge_clock("clock", kNow, kNow + 60).verdict, Verdict::Pass);
  EXPECT_EQ(judge_clock("clock", kNow, kNow + 61).what, "this machine is 61 s behind the relay");
  EXPECT_EQ(judge_clock("clock", kNow, kNow - 3600).what,
            "this machine is 3600 s ahead of the relay");
}

TEST(Doctor, JudgesBuffers) {
  EXPECT_EQ(judge_buffer("net.core.rmem_max", 100, 100).verdict, Verdict::Pass);
  const Finding f = judge_buffer("net.core.rmem_max", 99, 100);
  EXPECT_EQ(f.verdict, Verdict::Fail);
  EXPECT_EQ(f.cure, "sysctl -w net.core.rmem_max=100");
}

TEST(Doctor, ReadsDates) {
  const std::string head = "HTTP/1.1 400 Bad Request\r\n";
  EXPECT_EQ(date_of_head(head + "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"), 784111777);
  for (const char* line : {"", "Date: \r\n", "Date: Sun, 06 Xyz 1994 08:49:37 GMT\r\n",
                           "Date: Sun, 06 anF 1994 08:49:37 GMT\r\n", "Date: now\r\n"})
    EXPECT_EQ(date_of_head(head + line), std::nullopt) << line;
}

TEST(Doctor, AsksForAVersion) {
  const ByteVector id{1, 2, 3, 4, 5, 6, 7, 8};
  const ByteVector question = version_question(id);
  EXPECT_EQ(question.size(), 1200u);
  ByteVector answer{0x80, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_TRUE(is_version_answer(answer, id));
  EXPECT_FALSE(is_version_answer(Bytes(answer).first(20), id));
  EXPECT_FALSE(is_version_answer({}, id));
  EXPECT_FALSE(is_version_answer(answer, ByteVector(8, 9)));
  answer[4] = 1;
  EXPECT_FALSE(is_version_answer(answer, id));
  EXPECT_FALSE(is_version_answer(question, id));
}

TEST(Doctor, SaysIt) {
  const std::vector<Finding> findings{{"tcp a:1", Verdict::Pass, "accepts", {}},
                                      {"udp a:1", Verdict::Fail, "no answer", "open it"},
                                      {"ipv6", Verdict::Skip, "none", {}}};
  const Answer text = doctor_answer(findings, false);
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_EQ(text.out,
            "PASS  tcp a:1: accepts\nFAIL  udp a:1: no answer\n      cure: open it\n"
            "SKIP  ipv6: none\n");
  const Answer json = doctor_answer({findings[0]}, true);
  EXPECT_EQ(json.exit_code, 0);
  EXPECT_EQ(json.out,
            "{\"healthy\":true,\"checks\":[{\"check\":\"tcp a:1\",\"verdict\":\"PASS\","
            "\"what\":\"accepts\",\"cure\":\"\"}]}\n");
}

}  // namespace
}  // namespace adit::app
