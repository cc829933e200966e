#include "app/spelling.h"

#include <gtest/gtest.h>

#include <vector>

namespace adit::app {
namespace {

TEST(Spelling, DistanceCountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("domain", "domain"), 0u);
  EXPECT_EQ(edit_distance("domian", "domain"), 1u);  // neighbours swapped
  EXPECT_EQ(edit_distance("domains", "domain"), 1u);
  EXPECT_EQ(edit_distance("donain", "domain"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Spelling, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> known = {"domain", "listen", "open", "to", "key"};
  const struct {
    const char* word;
    const char* meant;  // null: nothing
  } rows[] = {
      {"domian", "domain"}, {"domains", "domain"}, {"lisen", "listen"}, {"opne", "open"},
      {"xyz", nullptr},     {"ab", nullptr},       {"", nullptr},       {"keys", "key"},
      {"tp", "to"},         {"colour", nullptr},
  };
  for (const auto& row : rows)
    EXPECT_EQ(nearest(row.word, known).value_or("-"), row.meant == nullptr ? "-" : row.meant)
        << row.word;
  EXPECT_EQ(nearest(std::string(100'000, 'a'), known), std::nullopt);
  EXPECT_EQ(did_you_mean("domian", known), "did you mean \"domain\"?");
  EXPECT_EQ(did_you_mean("colour", known), "");
}

}  // namespace
}  // namespace adit::app
