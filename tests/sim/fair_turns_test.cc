// A link with a lot to send takes its turn and leaves the rest of the turn to others: what its end
// sends in one turn of its loop is bounded, however much lies ready.
#include <gtest/gtest.h>

#include "base/limits_turn.h"
#include "sim/scenario.h"
#include "sim/tunnel_world.h"

namespace adit::sim {
namespace {

// What a turn may bring beside the link's part: the batch that goes over it, what a socket had
// refused before, and the control channel.
constexpr std::size_t kBesides = 2 * 65507;
constexpr std::uint64_t kBytes = 24'000'000;

class FairTurns : public testing::TestWithParam<service::CarrierChoice> {};

TEST_P(FairTurns, OfARelayThatSends) {
  World world(11);
  world.set_trace_contents(false);
  TunnelWorld t(world);
  t.agent.settings.carrier = GetParam();
  ASSERT_TRUE(t.start());
  // Fast and far: megabytes are under way, and acknowledgements let go of many at a time.
  LinkModel model;
  model.delay = 20ms;
  world.set_link(t.relay_host, t.agent_host, model);
  const std::size_t visit = t.visit(0, kBytes, 0);
  ASSERT_TRUE(t.run_until([&] { return t.whole(visit); }, 5min)) << t.report();
  // What it sends goes over the link; the visitor gets nothing to speak of.
  const SimLoop& loop = t.relay_host.loop();
  EXPECT_GT(loop.most_sent_in_a_turn(), limits::kLinkTurnBytesMax / 4);
  EXPECT_LE(loop.most_sent_in_a_turn(), limits::kLinkTurnBytesMax + kBesides);
}

INSTANTIATE_TEST_SUITE_P(Carriers, FairTurns,
                         testing::Values(service::CarrierChoice::Quic, service::CarrierChoice::H2),
                         [](const auto& of) {
                           return of.param == service::CarrierChoice::H2 ? "H2" : "Quic";
                         });

}  // namespace
}  // namespace adit::sim
