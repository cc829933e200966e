#include "service/edge/visitor_journal.h"

#include <gtest/gtest.h>

namespace adit::service {
namespace {

VisitorRecord visitor(std::string sni) {
  VisitorRecord r;
  r.at = WallTime{1'000'000'000};
  r.sni = std::move(sni);
  return r;
}

std::vector<std::uint64_t> ids(const std::vector<VisitorRecord>& records) {
  std::vector<std::uint64_t> out;
  for (const VisitorRecord& r : records) out.push_back(r.id);
  return out;
}

TEST(VisitorId, IsSixteenDigits) {
  EXPECT_EQ(visitor_id_text(0x0123456789abcdef), "0123456789abcdef");
  EXPECT_EQ(visitor_id_text(5), "0000000000000005");
  EXPECT_EQ(parse_visitor_id("0123456789abcdef"), 0x0123456789abcdefu);
  for (const char* text : {"", "123456789abcdef", "0123456789abcdeg", "00123456789abcdef"})
    EXPECT_EQ(parse_visitor_id(text), std::nullopt) << text;
}

TEST(VisitorJournal, FollowsAVisitor) {
  VisitorJournal journal(7, 4);
  const VisitorTag tag = journal.begin(visitor("A.Test"));
  EXPECT_EQ(tag.id, 7u);
  journal.leads_to(tag, "agent abc over quic");
  ASSERT_EQ(journal.matching("a.test").size(), 1u);
  EXPECT_TRUE(journal.matching("a.test")[0].outcome.empty());
  journal.end(tag, "finished", WallTime{3'500'000'000}, 10, 20);
  journal.end(tag, "aborted", WallTime{9'000'000'000});
  const VisitorRecord record = journal.matching(visitor_id_text(7)).at(0);
  EXPECT_EQ(record.sni, "a.test");
  EXPECT_EQ(record.outcome, "finished");
  EXPECT_EQ(record.took, 2500ms);
  EXPECT_EQ(record.bytes_in, 10u);
  EXPECT_EQ(record.bytes_out, 20u);
  EXPECT_EQ(journal.matching("abc").size(), 1u);
  EXPECT_TRUE(journal.matching("ab").empty());
  EXPECT_EQ(journal.matching("A.TEST.").size(), 1u);
}

TEST(VisitorJournal, KeepsTheLastOnes) {
  VisitorJournal journal(1, 3);
  std::vector<VisitorTag> tags;
  for (int i = 0; i < 5; ++i) tags.push_back(journal.begin(visitor("a.test")));
  EXPECT_EQ(ids(journal.matching("a.test")), (std::vector<std::uint64_t>{5, 4, 3}));
  // Its place is another's by now.
  journal.end(tags[0], "finished", WallTime{});
  journal.leads_to(tags[1], "x");
  for (const VisitorRecord& r : journal.matching("a.test")) {
    EXPECT_TRUE(r.outcome.empty());
    EXPECT_TRUE(r.destination.empty());
  }
  journal.end(tags[4], "finished", WallTime{});
  EXPECT_EQ(journal.matching("a.test")[0].outcome, "finished");
}

TEST(VisitorJournal, IsBounded) {
  VisitorJournal journal(1, 1000);
  VisitorRecord big = visitor(std::string(1000, 'a'));
  big.alpn = std::string(100'000, 'b');
  for (int i = 0; i < 100; ++i) journal.begin(big);
  EXPECT_EQ(journal.matching(std::string(VisitorJournal::kTextBytesMax, 'a')).size(),
            VisitorJournal::kMatchesMax);
  EXPECT_EQ(journal.matching(visitor_id_text(100)).at(0).alpn.size(),
            VisitorJournal::kTextBytesMax);
  EXPECT_TRUE(journal.matching("nothing").empty());
  EXPECT_TRUE(VisitorJournal(1, 1).matching("x").empty());
}

TEST(VisitorJournal, AdoptsFromAnotherThread) {
  VisitorJournal first(1, 4), second(1u << 31, 4);
  const VisitorTag tag = first.begin(visitor("a.test"));
  VisitorRecord moved = visitor("a.test");
  moved.id = tag.id;
  const VisitorTag there = second.adopt(moved);
  second.end(there, "finished", WallTime{});
  EXPECT_EQ(second.matching(visitor_id_text(tag.id)).at(0).outcome, "finished");
  EXPECT_EQ(second.begin(visitor("b.test")).id, 1u << 31);
}

}  // namespace
}  // namespace adit::service
