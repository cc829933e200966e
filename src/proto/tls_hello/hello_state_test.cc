#include "proto/tls_hello/hello_state.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

namespace adit {
namespace {

constexpr std::array<std::string_view, 7> kStates = {
    "start", "text", "record-header", "message-header", "message-body", "done", "failed"};
constexpr std::array<std::string_view, 8> kEvents = {
    "handshake-byte", "letter-byte", "header-fragment", "body-fragment",
    "message-begin",  "record-end",  "message-end",     "fault"};

// Every possible transition; what is not listed is impossible.
constexpr std::string_view kTable = R"(
start + handshake-byte -> record-header
start + letter-byte -> text
start + fault -> failed
text + fault -> failed
record-header + header-fragment -> message-header
record-header + body-fragment -> message-body
record-header + fault -> failed
message-header + message-begin -> message-body
message-header + record-end -> record-header
message-header + fault -> failed
message-body + record-end -> record-header
message-body + message-end -> done
message-body + fault -> failed
)";

TEST(HelloState, TableIsAsWritten) {
  std::string table = "\n";
  for (std::size_t s = 0; s < kStates.size(); ++s) {
    for (std::size_t e = 0; e < kEvents.size(); ++e) {
      const auto to = next(static_cast<HelloState>(s), static_cast<HelloEvent>(e));
      if (!to) continue;
      table.append(kStates[s]).append(" + ").append(kEvents[e]);
      table.append(" -> ").append(kStates[static_cast<std::size_t>(*to)]).append("\n");
    }
  }
  EXPECT_EQ(table, kTable);
}

static_assert(!next(HelloState::Done, HelloEvent::Fault), "a hello that was read stays read");
static_assert(!next(HelloState::Start, HelloEvent::MessageEnd));

}  // namespace
}  // namespace adit
