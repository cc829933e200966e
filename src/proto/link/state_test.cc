#include "proto/link/state.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace adit::link {
namespace {

constexpr const char* kGolden = "tests/golden/link_state.txt";

template <class State, class Event>
std::string table(std::string_view title, int states, int events) {
  std::string out = std::string(title) + "\n";
  for (int s = 0; s < states; ++s) {
    for (int e = 0; e < events; ++e) {
      const auto from = static_cast<State>(s);
      const auto event = static_cast<Event>(e);
      const auto to = next(from, event);
      std::string line = "  " + std::string(name(from));
      line.resize(14, ' ');
      line += std::string(name(event));
      line.resize(32, ' ');
      out += line + (to ? "-> " + std::string(name(*to)) : std::string("illegal")) + "\n";
    }
  }
  return out;
}

// ADIT_UPDATE_GOLDEN=1 writes the file anew; the difference is for the reviewer.
TEST(LinkState, GoldenTable) {
  const std::string now =
      table<LinkState, LinkEvent>("link", kLinkStates, kLinkEvents) + "\n" +
      table<SessionState, SessionEvent>("session", kSessionStates, kSessionEvents);
  if (std::getenv("ADIT_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(kGolden) << now;
    return;
  }
  std::ifstream in(kGolden);
  ASSERT_TRUE(in) << kGolden << " is missing; tests run in the source folder";
  const std::string golden{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(now, golden);
}

static_assert(next(LinkState::Closed, LinkEvent::Lost) == std::nullopt);
static_assert(next(SessionState::Ended, SessionEvent::Resumed) == std::nullopt);

}  // namespace
}  // namespace adit::link
