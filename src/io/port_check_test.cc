#include "io/port_check.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

class PortCheck : public testing::TestWithParam<LoopCase> {};

// Two relays on one port were both "ready", each with half of the visitors.
TEST_P(PortCheck, SeesASharedListenerAndASharedUdpPort) {
  auto harness = GetParam().make();
  if (!harness) GTEST_SKIP() << "refused by this kernel";
  Loop& loop = harness->loop();
  auto tcp = loop.listen_tcp({IpAddress::loopback4(), 0}, ListenOptions{true, 16});
  ASSERT_TRUE(tcp);
  EXPECT_EQ(check_port_free(loop.local_address(*tcp), PortKind::Tcp).error().code, EADDRINUSE);
  UdpOptions shared;
  shared.reuse_port = true;
  auto udp = loop.open_udp({IpAddress::loopback4(), 0}, shared);
  ASSERT_TRUE(udp);
  // Somebody else on this machine may have the same number for TCP at the moment.
  for (int i = 0; i < 20 && !check_port_free(loop.local_address(*udp), PortKind::Tcp); ++i) {
    udp = loop.open_udp({IpAddress::loopback4(), 0}, shared);
    ASSERT_TRUE(udp);
  }
  const Address at = loop.local_address(*udp);
  EXPECT_EQ(check_port_free(at, PortKind::Udp).error().code, EADDRINUSE);
  EXPECT_TRUE(check_port_free(at, PortKind::Tcp));
  // The sockets go with their loop, which leaves nothing behind.
  udp->reset();
  tcp->reset();
  harness.reset();
  EXPECT_TRUE(check_port_free(at, PortKind::Udp));
}

INSTANTIATE_TEST_SUITE_P(Real, PortCheck, real_cases(), case_name);

}  // namespace
}  // namespace adit::io
