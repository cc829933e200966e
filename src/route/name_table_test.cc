#include "route/name_table.h"

#include <gtest/gtest.h>

namespace adit::route {
namespace {

NameOwner owner(const std::string& key, std::uint64_t session, std::uint32_t service = 0,
                std::uint32_t thread = 0) {
  return {key, session, ServiceNumber{service}, thread};
}

TEST(NameTable, ClaimsAsATable) {
  const struct {
    const char* key;
    std::uint64_t session;
    const char* pattern;
    ClaimVerdict verdict;
  } rows[] = {
      {"alice", 1, "a.example", ClaimVerdict::Claimed},
      {"alice", 1, "a.example", ClaimVerdict::Kept},
      {"bob", 2, "a.example", ClaimVerdict::TakenByOther},
      {"bob", 2, "*.example", ClaimVerdict::Claimed},      // beside a name of another's
      {"alice", 3, "*.example", ClaimVerdict::TakenByOther},
      {"alice", 3, "a.example", ClaimVerdict::TakenOver},  // a stale registration
      {"alice", 3, "b.example", ClaimVerdict::Claimed},
      {"alice", 3, "c.example", ClaimVerdict::TooMany},
      {"bob", 2, "c.example", ClaimVerdict::Claimed},
  };
  NameTable table(2);
  for (const auto& row : rows) {
    const auto outcome = table.claim(row.pattern, owner(row.key, row.session));
    EXPECT_EQ(name(outcome.verdict), name(row.verdict)) << row.pattern << " by " << row.key;
    EXPECT_EQ(granted(outcome.verdict), table.owner_of(row.pattern) != nullptr &&
                                            *table.owner_of(row.pattern) ==
                                                owner(row.key, row.session));
  }
  EXPECT_EQ(table.size(), 4u);
  EXPECT_EQ(table.count("alice"), 2u);
  EXPECT_EQ(table.count("bob"), 2u);
}

TEST(NameTable, SaysWhoHadTheName) {
  NameTable table;
  EXPECT_EQ(table.claim("a.example", owner("alice", 1)).previous, std::nullopt);
  EXPECT_EQ(table.claim("a.example", owner("bob", 2)).previous, owner("alice", 1));
  EXPECT_EQ(table.claim("a.example", owner("alice", 3, 7, 1)).previous, owner("alice", 1));
  EXPECT_EQ(*table.owner_of("a.example"), owner("alice", 3, 7, 1));
}

TEST(NameTable, OwnNameGoesBeforeAWildcard) {
  NameTable table;
  table.claim("*.example", owner("alice", 1));
  table.claim("b.example", owner("bob", 2));
  ASSERT_TRUE(table.find("a.example"));
  EXPECT_EQ(table.find("a.example")->pattern, "*.example");
  EXPECT_EQ(table.find("b.example")->owner->key_id, "bob");
  EXPECT_FALSE(table.find("example"));
  EXPECT_FALSE(table.find("c.b.example"));
}

TEST(NameTable, LateEndOfAStaleSessionChangesNothing) {
  NameTable table;
  table.claim("a.example", owner("alice", 1));
  table.claim("b.example", owner("alice", 1));
  table.claim("a.example", owner("alice", 2));
  EXPECT_FALSE(table.release("a.example", 1));
  EXPECT_EQ(table.release_session("alice", 1), std::vector<std::string>{"b.example"});
  EXPECT_NE(table.owner_of("a.example"), nullptr);
  EXPECT_EQ(table.count("alice"), 1u);
  EXPECT_TRUE(table.release("a.example", 2));
  EXPECT_FALSE(table.release("a.example", 2));
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.count("alice"), 0u);
  EXPECT_TRUE(table.release_session("nobody", 1).empty());
}

TEST(NameTable, ReleasedNameIsFreeForAnotherKey) {
  NameTable table;
  table.claim("a.example", owner("alice", 1));
  table.release_session("alice", 1);
  EXPECT_EQ(table.claim("a.example", owner("bob", 2)).verdict, ClaimVerdict::Claimed);
}

TEST(NameTable, MovesASessionToAnotherThread) {
  NameTable table;
  table.claim("a.example", owner("alice", 1, 0, 0));
  table.claim("b.example", owner("alice", 2, 0, 0));
  table.move_session("alice", 1, 3);
  table.move_session("nobody", 1, 3);
  EXPECT_EQ(table.owner_of("a.example")->thread, 3u);
  EXPECT_EQ(table.owner_of("b.example")->thread, 0u);
}

TEST(NameTable, CountsTheNamesThatWantQuic) {
  NameTable table;
  table.claim("a.test", {"alice", 1, {}, 0, true});
  table.claim("b.test", {"alice", 1, {}, 0, false});
  EXPECT_EQ(table.quic_names(), 1u);
  table.claim("b.test", {"alice", 2, {}, 0, true});
  EXPECT_EQ(table.quic_names(), 2u);
  table.claim("a.test", {"bob", 3, {}, 0, true});  // refused
  EXPECT_EQ(table.quic_names(), 2u);
  table.claim("a.test", {"alice", 2, {}, 0, false});
  EXPECT_EQ(table.quic_names(), 1u);
  table.release_session("alice", 2);
  EXPECT_EQ(table.quic_names(), 0u);
}

}  // namespace
}  // namespace adit::route
