#include "proto/quic/connection.h"

#include <gtest/gtest.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <algorithm>
#include <cerrno>

#include "proto/quic/test_link.h"

namespace adit::quic {
namespace {

TEST(QuicConnection, HandshakeShowsBothKeys) {
  TestLink link(1);
  ASSERT_TRUE(link.handshake());
  EXPECT_EQ(link.client.connection->peer_spki_der(), contexts().server_spki);
  EXPECT_EQ(link.server.connection->peer_spki_der(), contexts().client_spki);
  EXPECT_EQ(link.client.connection->alpn(), "adit/1");
  EXPECT_EQ(link.server.connection->alpn(), "adit/1");
  link.run_for(100ms);
  EXPECT_EQ(link.client.count<HandshakeDone>(), 1u);
  EXPECT_EQ(link.server.count<HandshakeDone>(), 1u);
}

TEST(QuicConnection, ExportersAgree) {
  TestLink link(2);
  EXPECT_TRUE((link.start(), true));
  EXPECT_FALSE(link.client.connection->export_keying_material("EXPORTER-x", {}, 32));
  ASSERT_TRUE(link.handshake());
  auto a = link.client.connection->export_keying_material("EXPORTER-x", as_bytes("c"), 32);
  auto b = link.server.connection->export_keying_material("EXPORTER-x", as_bytes("c"), 32);
  auto other = link.server.connection->export_keying_material("EXPORTER-x", as_bytes("d"), 32);
  ASSERT_TRUE(a && b && other);
  EXPECT_EQ(*a, *b);
  EXPECT_NE(*a, *other);
}

struct TransferCase {
  const char* name;
  std::uint64_t bytes;
  LinkFaults faults;
};

class QuicTransfer : public testing::TestWithParam<TransferCase> {};

TEST_P(QuicTransfer, BothWaysIntact) {
  TestLink link(3, GetParam().faults);
  ASSERT_TRUE(link.handshake());
  EXPECT_TRUE(link.transfer(GetParam().bytes, GetParam().bytes));
  EXPECT_FALSE(link.client.connection->closed());
}

constexpr std::uint64_t kMiB = 1 << 20;
INSTANTIATE_TEST_SUITE_P(
    Links, QuicTransfer,
    testing::Values(TransferCase{"Clean", 10 * kMiB, {}},
                    TransferCase{"Loss2", 10 * kMiB, {.loss = 0.02}},
                    TransferCase{"Loss10", 10 * kMiB, {.loss = 0.1}},
                    TransferCase{"Reordered", 10 * kMiB, {.reorder = 0.2}},
                    TransferCase{"Repeated", 10 * kMiB, {.duplicate = 0.3}},
                    TransferCase{"Broken", 2 * kMiB, {.corrupt = 0.05}},
                    TransferCase{"Narrow", 2 * kMiB, {.bytes_max = 1250}},
                    TransferCase{"Fast", 10 * kMiB, {.delay = 20us}},
                    TransferCase{"Empty", 0, {}}),
    [](const auto& p) { return std::string(p.param.name); });

// --- refusals ---

struct AlpnCase {
  const char* name;
  std::vector<std::string> server, client;
};

TEST(QuicConnection, NoConnectionWithoutCommonProtocol) {
  const AlpnCase cases[] = {{"other", {"adit/1"}, {"h3"}},
                            {"client offers none", {"adit/1"}, {}},
                            {"server wants none", {}, {"adit/1"}}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Contexts tls = make_contexts(c.server, c.client);
    TestLink link(5, {}, tls);
    EXPECT_FALSE(link.handshake());
    // RFC 9001 §8.1: no_application_protocol, error 0x0178.
    ASSERT_NE(link.client.first<Closed>(), nullptr);
    EXPECT_EQ(link.client.first<Closed>()->code, 0x178u);
    ASSERT_NE(link.server.first<Closed>(), nullptr);
    EXPECT_EQ(link.server.first<Closed>()->code, 0x178u);
    EXPECT_EQ(link.server.first<HandshakeDone>(), nullptr);
  }
}

// --- ends ---

TEST(QuicConnection, CloseTellsCodeAndReason) {
  for (bool by_client : {true, false}) {
    TestLink link(6);
    ASSERT_TRUE(link.handshake());
    link.run_for(100ms);
    End& from = by_client ? link.client : link.server;
    End& to = by_client ? link.server : link.client;
    from.connection->close(4711, "going away", link.now);
    EXPECT_TRUE(from.connection->closed());
    ASSERT_TRUE(link.run([&] { return to.connection->closed(); }, 1s));
    link.run_for(10s);
    ASSERT_EQ(to.count<Closed>(), 1u);
    EXPECT_EQ(to.first<Closed>()->code, 4711u);
    EXPECT_EQ(to.first<Closed>()->reason, "going away");
    EXPECT_TRUE(to.first<Closed>()->application);
    EXPECT_TRUE(to.first<Closed>()->by_peer);
    ASSERT_EQ(from.count<Closed>(), 1u);
    EXPECT_FALSE(from.first<Closed>()->by_peer);
    EXPECT_TRUE(from.connection->finished());
    EXPECT_TRUE(to.connection->finished());
  }
}

TEST(QuicConnection, CloseIsRepeatedForALossyPeer) {
  TestLink link(7);
  ASSERT_TRUE(link.handshake());
  link.run_for(1s);
  int lost = 0;
  link.tamper = [&](End& to, ByteVector& d) {
    if (&to == &link.client && lost < 1) ++lost, d.assign(30, 0x40);
  };
  TestSource source(1, 1 << 20);
  auto id = link.client.connection->open_stream();
  link.server.connection->close(1, "bye", link.now);
  link.client.connection->attach(*id, &source);
  EXPECT_TRUE(link.run([&] { return link.client.connection->closed(); }, 1s));
  EXPECT_EQ(lost, 1);
}

TEST(QuicConnection, CloseBeforeTheHandshakeIsDone) {
  TestLink link(8);
  link.start();
  link.run_for(5ms);
  link.client.connection->close(9, "changed my mind", link.now);
  link.run_for(1s);
  ASSERT_NE(link.client.first<Closed>(), nullptr);
  ASSERT_NE(link.server.first<Closed>(), nullptr);
  // RFC 9000 §10.2.3: not the application's code, for it is not protected yet.
  EXPECT_EQ(link.server.first<Closed>()->code, 0xcu);
  EXPECT_FALSE(link.server.first<Closed>()->application);
}

TEST(QuicConnection, SilenceEndsAsTimeout) {
  TestLink link(9);
  ASSERT_TRUE(link.handshake());
  link.run_for(60s);  // kept alive
  EXPECT_FALSE(link.client.connection->closed());
  EXPECT_FALSE(link.server.connection->closed());
  link.cut = true;
  const Instant cut_at = link.now;
  ASSERT_TRUE(link.run([&] {
    return link.client.connection->finished() && link.server.connection->finished();
  }, 60s));
  EXPECT_LE(link.now - cut_at, 25s);
  for (const End* e : {&link.client, &link.server}) {
    ASSERT_EQ(e->count<Closed>(), 1u);
    EXPECT_TRUE(e->first<Closed>()->timeout);
  }
  EXPECT_EQ(link.client.connection->next_deadline(), Instant::never());
}

TEST(QuicConnection, HandshakeHasADeadline) {
  TestLink link(10);
  link.start();
  link.cut = true;
  const Instant began = link.now;
  ASSERT_TRUE(link.run([&] { return link.client.connection->closed(); }, 60s));
  EXPECT_TRUE(link.client.first<Closed>()->timeout);
  EXPECT_EQ(link.now - began, 10s);
}

// --- datagrams ---

TEST(QuicConnection, Datagrams) {
  TestLink link(11, {.bytes_max = 1452});
  link.start();
  EXPECT_EQ(link.client.connection->send_datagram(as_bytes("early")).error().code, EMSGSIZE);
  ASSERT_TRUE(link.handshake());
  link.run_for(2s);  // path MTU discovery
  const std::size_t longest = link.client.connection->datagram_bytes_max();
  EXPECT_GT(longest, 1390u);
  EXPECT_LT(longest, 1452u);
  const ByteVector full(longest, 0x5a), more(longest + 1, 0);
  EXPECT_EQ(link.client.connection->send_datagram(more).error().code, EMSGSIZE);
  EXPECT_TRUE(link.client.connection->send_datagram(full));
  EXPECT_TRUE(link.client.connection->send_datagram({}));
  for (int i = 2; i < 64; ++i) EXPECT_TRUE(link.client.connection->send_datagram(as_bytes("x")));
  EXPECT_EQ(link.client.connection->send_datagram(as_bytes("x")).error().code, EAGAIN);
  ASSERT_TRUE(link.run([&] { return link.server.count<DatagramReceived>() == 64; }, 2s));
  EXPECT_EQ(link.server.first<DatagramReceived>()->bytes, full);
}

TEST(QuicConnection, DatagramsPassBulkStreams) {
  TestLink link(12);
  ASSERT_TRUE(link.handshake());
  link.run_for(2s);
  TestSource bulk(1, 64 << 20);
  auto id = link.client.connection->open_stream();
  link.client.connection->attach(*id, &bulk);
  link.server.on_event = [&](const Event& e) {
    if (auto* r = std::get_if<StreamReadable>(&e))
      link.server.connection->consume(r->id, link.server.connection->readable(r->id).size());
  };
  link.run_for(300ms);
  for (int i = 0; i < 64; ++i)
    ASSERT_TRUE(link.client.connection->send_datagram(ByteVector(1200, 1)));
  EXPECT_TRUE(link.run([&] {
    link.client.connection->wake(*id);
    return link.server.count<DatagramReceived>() > 40;
  }, 500ms));
  EXPECT_GT(bulk.acked_bytes(), 64u << 10);
}

// --- paths ---

TEST(QuicConnection, ClientMigrates) {
  TestLink link(13);
  link.start();
  EXPECT_EQ(link.client.connection->migrate(client_path(50001), link.now).error().code, EAGAIN);
  ASSERT_TRUE(link.handshake());
  link.run_for(500ms);
  EXPECT_EQ(link.client.connection->migrate(client_path(), link.now).error().code, EINVAL);
  ASSERT_TRUE(link.client.connection->migrate(client_path(50001), link.now));
  EXPECT_TRUE(link.transfer(1 << 20, 1 << 20));
  EXPECT_EQ(link.client.connection->path(), client_path(50001));
  ASSERT_NE(link.server.first<PathChanged>(), nullptr);
  EXPECT_EQ(link.server.first<PathChanged>()->path, swapped(client_path(50001)));
  EXPECT_EQ(link.server.count<PathChanged>(), 1u);
}

TEST(QuicConnection, SurvivesNatRebinding) {
  TestLink link(14);
  ASSERT_TRUE(link.handshake());
  link.run_for(500ms);
  link.nat_port = 61000;
  EXPECT_TRUE(link.transfer(1 << 20, 1 << 20));
  ASSERT_NE(link.server.first<PathChanged>(), nullptr);
  EXPECT_EQ(link.server.first<PathChanged>()->path.peer.port, 61000);
  EXPECT_EQ(link.server.connection->path().peer.port, 61000);
  EXPECT_EQ(link.client.first<PathChanged>(), nullptr);
}

// A path of jumbo frames, which carries larger packets than the probe of Ethernet's size found.
TEST(QuicConnection, UsesJumboFrames) {
  TestLink link(15);
  ASSERT_TRUE(link.handshake());
  ASSERT_TRUE(link.transfer(4 << 20, 4 << 20));
  for (const End* end : {&link.client, &link.server}) {
    const auto& sizes = end->datagram_sizes;
    EXPECT_EQ(*std::max_element(sizes.begin(), sizes.end()), 8952u);
    EXPECT_GT(std::ranges::count(sizes, 8952u), 300);
  }
}

// Probes that are too large cost themselves and nothing else.
TEST(QuicConnection, ProbesThatVanishTakeNothingWithThem) {
  TestLink link(15, {.bytes_max = 1452});
  ASSERT_TRUE(link.handshake());
  ASSERT_TRUE(link.transfer(4 << 20, 0));
  const auto& sizes = link.client.datagram_sizes;
  EXPECT_LE(std::ranges::count(sizes, 8952u), 3);
  EXPECT_EQ(link.client.connection->stats().packets_lost, 0u);
}

TEST(QuicConnection, DiscoversThePathMtuAndSendsBatches) {
  TestLink link(15, {.bytes_max = 1452});
  ASSERT_TRUE(link.handshake());
  ASSERT_TRUE(link.transfer(4 << 20, 0));
  const auto& sizes = link.client.datagram_sizes;
  EXPECT_GT(std::ranges::count(sizes, 1452u), 2000);
  // Batches are what makes GSO pay: far fewer calls of send than datagrams.
  EXPECT_LT(link.client.batches * 4, sizes.size());
  EXPECT_GT(link.client.connection->stats().rtt, 15ms);
  EXPECT_LT(link.client.connection->stats().rtt, 60ms);
  EXPECT_GT(link.client.connection->stats().bytes_sent, 4u << 20);
}

// --- hostile input ---

TEST(QuicConnection, GarbageIsHarmless) {
  TestLink link(16);
  Prng prng(99);
  ASSERT_TRUE(link.handshake());
  for (int i = 0; i < 2000; ++i) {
    ByteVector noise(prng.below(1500));
    for (auto& b : noise) b = static_cast<std::uint8_t>(prng.next());
    link.client.connection->feed(client_path(), 0, noise, link.now);
    link.server.connection->feed(swapped(client_path()), 3, noise, link.now);
  }
  EXPECT_TRUE(link.transfer(100'000, 100'000));
}

// With each cipher: a packet that was changed on its way is dropped, whatever the cipher of the
// CPU's choice. (The library's own ChaCha20-Poly1305 for QUIC decrypts without looking at the tag.)
TEST(QuicConnection, ChangedPacketsAreDroppedWithEveryCipher) {
  for (const char* cipher : {"TLS13-AES128-GCM-SHA256", "TLS13-AES256-GCM-SHA384",
                             "TLS13-CHACHA20-POLY1305-SHA256"}) {
    SCOPED_TRACE(cipher);
    const Contexts tls = make_contexts();
    ASSERT_EQ(wolfSSL_CTX_set_cipher_list(tls.client.native(), cipher), WOLFSSL_SUCCESS);
    TestLink link(17, {.corrupt = 0.05}, tls);
    ASSERT_TRUE(link.handshake());
    EXPECT_TRUE(link.transfer(2 << 20, 2 << 20));
    EXPECT_FALSE(link.client.connection->closed() || link.server.connection->closed());
  }
}

TEST(QuicConnection, BrokenHandshakesEndQuietly) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    TestLink link(seed, {.loss = 0.1, .duplicate = 0.2, .reorder = 0.3, .corrupt = 0.3});
    link.start();
    link.handshake();
    link.run_for(30s);
    if (link.server.connection != nullptr && link.client.connection->handshake_done() &&
        !link.client.connection->closed()) {
      link.transfer(20'000, 20'000, 60s);
    }
  }
}

}  // namespace
}  // namespace adit::quic
