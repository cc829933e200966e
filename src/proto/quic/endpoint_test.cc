#include "proto/quic/endpoint.h"

#include <gtest/gtest.h>

#include "proto/quic/test_link.h"

namespace adit::quic {
namespace {

constexpr Instant kNow{5'000'000'000};
const Path kAtServer = swapped(client_path());

// A client whose datagrams the test carries by hand.
struct Client {
  explicit Client(std::uint64_t seed = 7) {
    Settings s = test_settings(seed);
    s.reset_secret = {};
    auto made = Connection::connect(contexts().client, "relay.test", client_path(), s, kNow);
    CHECK(made);
    connection = std::move(*made);
  }
  ByteVector next(Instant now = kNow) {
    const Outgoing out = connection->drain(buffer, now);
    return {out.bytes.begin(), out.bytes.end()};
  }
  void feed(Bytes in, Instant now = kNow) { connection->feed(client_path(), 0, in, now); }
  std::unique_ptr<Connection> connection;
  ByteVector buffer = ByteVector(1500);
};

// An endpoint that accepts, as its owner would.
struct Server {
  Server() : endpoint(1, 4, test_secret()) {}
  // Returns the datagrams to send back.
  std::vector<ByteVector> take(Bytes in, bool validate = false, Instant now = kNow,
                               const Path& path = kAtServer) {
    verdict = endpoint.sort(path, in, validate, now);
    if (auto* a = std::get_if<Answer>(&verdict)) return {a->datagram};
    if (std::holds_alternative<NewConnection>(verdict)) {
      auto made = Connection::accept(contexts().server, in, path, test_settings(9), 1, now);
      if (!made) return {};
      connection = std::move(*made);
      endpoint.add(*connection);
      verdict = ForConnection{connection.get()};
      accepted++;
    }
    auto* f = std::get_if<ForConnection>(&verdict);
    if (f == nullptr) return {};
    f->connection->feed(path, 0, in, now);
    endpoint.update(*f->connection);
    return drain(*f->connection, now);
  }
  std::vector<ByteVector> drain(Connection& c, Instant now) {
    std::vector<ByteVector> out;
    for (int i = 0; i < 100; ++i) {
      const Outgoing o = c.drain(buffer, now);
      if (o.bytes.empty()) break;
      out.emplace_back(o.bytes.begin(), o.bytes.end());
    }
    return out;
  }
  Endpoint endpoint;
  std::unique_ptr<Connection> connection;
  Verdict verdict = Ignore{};
  int accepted = 0;
  ByteVector buffer = ByteVector(1500);
};

// Carries datagrams until both are quiet.
void converse(Client& c, Server& s, bool validate = false) {
  Instant now = kNow;
  for (int round = 0; round < 20; ++round) {
    now = now + 5ms;
    std::vector<ByteVector> back;
    for (ByteVector d = c.next(now); !d.empty(); d = c.next(now))
      for (auto& b : s.take(d, validate, now)) back.push_back(std::move(b));
    for (auto& b : back) c.feed(b, now);
    c.connection->on_deadline(now);
    if (s.connection != nullptr) {
      s.connection->on_deadline(now);
      for (auto& b : s.drain(*s.connection, now)) c.feed(b, now);
    }
  }
}

TEST(QuicEndpoint, AcceptsAndFindsItsConnections) {
  Client c;
  Server s;
  const ByteVector first = c.next();
  ASSERT_GE(first.size(), 1200u);
  for (auto& d : s.take(first)) c.feed(d);
  EXPECT_EQ(s.accepted, 1);
  // The client repeats its first datagram: the same connection.
  s.take(first);
  EXPECT_EQ(s.accepted, 1);
  converse(c, s);
  EXPECT_TRUE(c.connection->handshake_done());
  EXPECT_TRUE(s.connection->handshake_done());
  EXPECT_EQ(s.endpoint.size(), 1u);
  s.endpoint.remove(*s.connection);
  EXPECT_EQ(s.endpoint.size(), 0u);
  const Verdict again = s.endpoint.sort(kAtServer, first, false, kNow);
  EXPECT_TRUE(std::holds_alternative<NewConnection>(again));
}

TEST(QuicEndpoint, RetryValidatesTheAddress) {
  Client c;
  Server s;
  const ByteVector first = c.next();
  auto retry = s.take(first, true);
  ASSERT_EQ(retry.size(), 1u);
  EXPECT_EQ(s.accepted, 0);
  EXPECT_LT(retry[0].size(), first.size());
  c.feed(retry[0]);
  const ByteVector second = c.next();
  ASSERT_FALSE(second.empty());
  // From another address the token is worth nothing: INVALID_TOKEN at once.
  Path elsewhere = kAtServer;
  elsewhere.peer.ip = IpAddress::v4(203, 0, 113, 9);
  EXPECT_EQ(s.take(second, true, kNow, elsewhere).size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Answer>(s.verdict));
  // And late it is worth nothing either.
  s.take(second, true, kNow + 11s);
  EXPECT_TRUE(std::holds_alternative<Answer>(s.verdict));
  EXPECT_EQ(s.accepted, 0);
  for (auto& d : s.take(second, true)) c.feed(d);
  EXPECT_EQ(s.accepted, 1);
  converse(c, s, true);
  EXPECT_TRUE(c.connection->handshake_done());
  EXPECT_TRUE(s.connection->handshake_done());
}

TEST(QuicEndpoint, InvalidTokenEndsTheClient) {
  Client c;
  Server s;
  for (auto& d : s.take(c.next(), true)) c.feed(d);
  const ByteVector second = c.next();
  for (auto& d : s.take(second, true, kNow + 11s)) c.feed(d);
  ASSERT_TRUE(c.connection->closed());
  std::uint64_t code = 0;
  for (auto& e : c.connection->take_events())
    if (auto* closed = std::get_if<Closed>(&e)) code = closed->code;
  EXPECT_EQ(code, 0xbu);  // INVALID_TOKEN
}

TEST(QuicEndpoint, NegotiatesTheVersion) {
  Client c;
  Server s;
  ByteVector other = c.next();
  other[1] = 0xfa, other[2] = 0xce, other[3] = 0xb0, other[4] = 0x0c;
  auto answer = s.take(other);
  ASSERT_EQ(answer.size(), 1u);
  const ByteVector& vn = answer[0];
  EXPECT_EQ(vn[0] & 0x80, 0x80);
  EXPECT_EQ(ByteVector(vn.begin() + 1, vn.begin() + 5), (ByteVector{0, 0, 0, 0}));
  // RFC 9000 §17.2.1: the ids change places, and version 1 is offered.
  const std::size_t dcid = other[5], scid = other[6 + dcid];
  EXPECT_EQ(vn[5], scid);
  EXPECT_EQ(vn[6 + scid], dcid);
  EXPECT_EQ(ByteVector(vn.end() - 4, vn.end()), (ByteVector{0, 0, 0, 1}));
  // A Version Negotiation packet, and a short one of an unknown version, are not answered.
  EXPECT_TRUE(s.take(vn).empty());
  other.resize(1199);
  EXPECT_TRUE(s.take(other).empty());
  // Version 2 exists, but not here.
  other.resize(1200);
  other[1] = 0x6b, other[2] = 0x33, other[3] = 0x43, other[4] = 0xcf;
  EXPECT_EQ(s.take(other).size(), 1u);
  EXPECT_EQ(s.accepted, 0);
}

ByteVector short_packet(std::uint8_t thread, std::size_t size) {
  ByteVector d(size, 0x33);
  d[0] = 0x41;
  if (size > 1) d[1] = thread;
  return d;
}

TEST(QuicEndpoint, HandsOverToTheOtherThread) {
  Server s;  // thread 1 of 4
  auto other = [&](Bytes d) {
    s.take(d);
    auto* o = std::get_if<OtherThread>(&s.verdict);
    return o == nullptr ? -1 : int{o->thread};
  };
  EXPECT_EQ(other(short_packet(3, 60)), 3);
  EXPECT_EQ(other(short_packet(0, 60)), 0);
  EXPECT_EQ(other(short_packet(1, 60)), -1);  // ours, unknown
  EXPECT_EQ(other(short_packet(4, 60)), -1);  // no such thread
  EXPECT_EQ(other(short_packet(3, 18)), -1);  // too short for an id
  // A Handshake packet (long header) with an id of ours.
  ByteVector handshake = {0xe0, 0, 0, 0, 1, 18, 2};
  handshake.resize(7 + 17 + 1 + 1200, 0);
  EXPECT_EQ(other(handshake), 2);
  handshake[6] = 1;
  EXPECT_EQ(other(handshake), -1);
  EXPECT_TRUE(std::holds_alternative<Ignore>(s.verdict));
  handshake[5] = 17;
  handshake[6] = 2;
  EXPECT_EQ(other(handshake), -1);  // not our length
}

TEST(QuicEndpoint, StatelessResetEndsAForgottenConnection) {
  Client c;
  Server s;
  converse(c, s);
  ASSERT_TRUE(c.connection->handshake_done());
  // The server restarts: same secret, no connections.
  Server restarted;
  Instant now = kNow + 1s;
  ASSERT_TRUE(c.connection->send_datagram(ByteVector(100, 'x')));
  const ByteVector d = c.next(now);
  ASSERT_FALSE(d.empty());
  auto answer = restarted.take(d, false, now);
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_LT(answer[0].size(), d.size());
  c.feed(answer[0], now);
  ASSERT_TRUE(c.connection->closed());
  bool told = false;
  for (auto& e : c.connection->take_events())
    if (auto* closed = std::get_if<Closed>(&e))
      told = closed->by_peer && closed->reason == "stateless reset";
  EXPECT_TRUE(told);
}

TEST(QuicEndpoint, StatelessResetsShrinkAndAreRationed) {
  Server s;
  for (std::size_t size : {19u, 21u}) EXPECT_TRUE(s.take(short_packet(1, size)).empty()) << size;
  for (std::size_t size : {22u, 30u, 43u, 44u, 1200u}) {
    auto answer = s.take(short_packet(1, size));
    ASSERT_EQ(answer.size(), 1u) << size;
    EXPECT_LT(answer[0].size(), size);
    EXPECT_LE(answer[0].size(), 43u);
  }
  std::size_t answered = 0;
  for (int i = 0; i < 5000; ++i) answered += s.take(short_packet(1, 100)).size();
  EXPECT_LT(answered, 300u);
  EXPECT_GT(answered, 200u);
  answered = 0;
  for (int i = 0; i < 5000; ++i) answered += s.take(short_packet(1, 100), false, kNow + 1s).size();
  EXPECT_EQ(answered, 200u);  // refilled at 200 a second
}

TEST(QuicEndpoint, ClientCannotTakeAnothersId) {
  Client a(7), b(8);
  Server s;
  const ByteVector first = a.next();
  s.take(first);
  auto* held = s.connection.get();
  auto kept = std::move(s.connection);
  // b claims a's first id: its Initial is a's business, which drops it.
  ByteVector forged = b.next();
  std::copy(first.begin() + 6, first.begin() + 6 + first[5], forged.begin() + 6);
  s.take(forged);
  auto* f = std::get_if<ForConnection>(&s.verdict);
  ASSERT_NE(f, nullptr);
  EXPECT_EQ(f->connection, held);
  EXPECT_FALSE(held->closed());
  s.endpoint.remove(*held);
}

TEST(QuicEndpoint, GarbageIsSorted) {
  Client c;
  Server s;
  const ByteVector first = c.next();
  Prng prng(5);
  std::vector<std::unique_ptr<Connection>> accepted;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    ByteVector d(prng.below(1500));
    if (prng.chance(0.5)) {
      d = first;
      const std::size_t n = 1 + prng.below(4);
      for (std::size_t k = 0; k < n; ++k)
        d[prng.below(60)] = static_cast<std::uint8_t>(prng.next());
      if (prng.chance(0.2)) d.resize(prng.below(d.size()));
    } else {
      for (auto& b : d) b = static_cast<std::uint8_t>(prng.next());
    }
    const Verdict v = s.endpoint.sort(kAtServer, d, prng.chance(0.5), kNow);
    if (!std::holds_alternative<NewConnection>(v) || accepted.size() >= 200) continue;
    if (auto made = Connection::accept(contexts().server, d, kAtServer, test_settings(i), 1,
                                       kNow)) {
      (*made)->feed(kAtServer, 0, d, kNow);
      s.drain(**made, kNow);
      accepted.push_back(std::move(*made));
    }
  }
  EXPECT_EQ(accepted.size(), 200u);
}

}  // namespace
}  // namespace adit::quic
