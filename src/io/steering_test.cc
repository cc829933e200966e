// Topology: four sockets on one loopback port; clients on other ports send QUIC-like headers.
#include "io/steering.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "io/fd.h"
#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

constexpr std::size_t kIdBytes = 18;
constexpr unsigned kSockets = 4;

class Steering : public testing::TestWithParam<LoopCase> {};

bool steering_works() {
  const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  return steer_by_connection_id(fd.get(), kSockets, kIdBytes) == 0;
}

struct Receiver {
  Receiver(Loop& l, Socket s)
      : loop(l), socket(std::move(s)), op(Op::Handler::to<&Receiver::on_datagram>(this)) {
    loop.receive_datagrams(op, socket);
  }
  void on_datagram(const Completion& c) {
    if (c.result > 0) ++count;
  }
  Loop& loop;
  Socket socket;
  Op op;
  int count = 0;
};

TEST_P(Steering, PacketsReachTheSocketThatTheirIdNames) {
  auto harness = GetParam().make();
  if (!harness) GTEST_SKIP() << "refused by this kernel";
  Loop& loop = harness->loop();
  UdpOptions options;
  options.reuse_port = true;
  options.steer_sockets = kSockets;
  options.steer_id_bytes = kIdBytes;
  std::vector<std::unique_ptr<Receiver>> receivers;
  Address at{IpAddress::loopback4(), 0};
  if (!steering_works()) GTEST_SKIP() << "this kernel, or qemu-user, attaches no program";
  for (unsigned i = 0; i < kSockets; ++i) {
    auto socket = loop.open_udp(at, options);
    ASSERT_TRUE(socket) << socket.error().what;
    at = loop.local_address(*socket);
    receivers.push_back(std::make_unique<Receiver>(loop, std::move(*socket)));
  }
  // From eight source ports, so that hashing would spread them.
  for (int source = 0; source < 8; ++source) {
    auto client = loop.open_udp(Address{IpAddress::loopback4(), 0}, UdpOptions{});
    ASSERT_TRUE(client);
    for (std::uint8_t i = 0; i < kSockets; ++i) {
      ByteVector brief(40, 0);
      brief[0] = 0x40;
      brief[1] = i;
      ByteVector initial(1200, 0);
      initial[0] = 0xc0;
      initial[5] = kIdBytes;
      initial[6] = i;
      ASSERT_TRUE(loop.send_datagrams(*client, {at, {}, brief, 0, 0}));
      ASSERT_TRUE(loop.send_datagrams(*client, {at, {}, initial, 0, 0}));
    }
  }
  const Instant deadline = loop.now() + 5s;
  const auto all = [&] {
    int n = 0;
    for (auto& r : receivers) n += r->count;
    return n;
  };
  while (all() < 64 && loop.now() < deadline) loop.turn(deadline);
  for (auto& r : receivers) EXPECT_EQ(r->count, 16);
}

// An id of another length, or a byte that names no socket, is hashed: it arrives somewhere, once.
TEST_P(Steering, OtherPacketsArriveSomewhere) {
  auto harness = GetParam().make();
  if (!harness) GTEST_SKIP() << "refused by this kernel";
  Loop& loop = harness->loop();
  UdpOptions options;
  options.reuse_port = true;
  options.steer_sockets = 2;
  options.steer_id_bytes = kIdBytes;
  Address at{IpAddress::loopback4(), 0};
  std::vector<std::unique_ptr<Receiver>> receivers;
  for (int i = 0; i < 2; ++i) {
    auto socket = loop.open_udp(at, options);
    ASSERT_TRUE(socket);
    at = loop.local_address(*socket);
    receivers.push_back(std::make_unique<Receiver>(loop, std::move(*socket)));
  }
  auto client = loop.open_udp(Address{IpAddress::loopback4(), 0}, UdpOptions{});
  ASSERT_TRUE(client);
  ByteVector other_length(1200, 0), nobody(40, 0), tiny(1, 0x40);
  other_length[0] = 0xc0;
  other_length[5] = 8;
  other_length[6] = 1;
  nobody[0] = 0x40;
  nobody[1] = 200;
  for (const ByteVector* packet : {&other_length, &nobody, &tiny})
    ASSERT_TRUE(loop.send_datagrams(*client, {at, {}, *packet, 0, 0}));
  const Instant deadline = loop.now() + 5s;
  const auto all = [&] { return receivers[0]->count + receivers[1]->count; };
  while (all() < 3 && loop.now() < deadline) loop.turn(deadline);
  EXPECT_EQ(all(), 3);
}

INSTANTIATE_TEST_SUITE_P(Real, Steering, real_cases(), case_name);

}  // namespace
}  // namespace adit::io
