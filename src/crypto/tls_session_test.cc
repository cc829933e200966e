#include "crypto/tls_session.h"

#include <wolfssl/options.h>

#include <gtest/gtest.h>
#include <wolfssl/ssl.h>

#include <cerrno>

#include "base/prng.h"
#include "crypto/digest.h"
#include "crypto/init.h"
#include "crypto/test_files.h"
#include "crypto/test_tls.h"

namespace adit::crypto {
namespace {

const Identity& relay() {
  static const Identity id("relay.example");
  return id;
}
const Identity& agent() {
  static const Identity id("agent.example");
  return id;
}

TEST(TlsSession, SpeaksInAnyFragmentation) {
  for (std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100'000}}) {
    Pair pair(server_options(relay()), pinned());
    pair.piece = piece;
    EXPECT_EQ(*pair.client.write(as_bytes("early")), 0u);
    pair.exchange();
    ASSERT_TRUE(pair.open());
    write_text(pair.client, "hello relay");
    write_text(pair.server, "hello agent");
    pair.exchange();
    EXPECT_EQ(read_text(pair.server), "hello relay");
    EXPECT_EQ(read_text(pair.client), "hello agent");
    EXPECT_EQ(pair.client.protocol(), "TLSv1.3");
    EXPECT_EQ(pair.client.cipher(), pair.server.cipher());
    EXPECT_EQ(pair.client.peer_spki_der(), relay().key.public_key_spki_der());
    EXPECT_TRUE(pair.server.peer_spki_der().empty());
  }
}

TEST(TlsSession, PrefersAesOnlyInHardware) {
  Pair pair(server_options(relay()), pinned());
  pair.exchange();
  const bool aes = cipher_order().starts_with("TLS13-AES128");
  EXPECT_TRUE(has_hardware_aes() || !aes);
  EXPECT_EQ(pair.client.cipher(),
            aes ? "TLS_AES_128_GCM_SHA256" : "TLS_CHACHA20_POLY1305_SHA256");
}

// Ten megabytes each way at once, over a carrier that takes odd pieces, with keys changed in
// between.
TEST(TlsSession, CarriesBulkWithinItsBounds) {
  Pair pair(server_options(relay()), pinned());
  pair.exchange();
  ASSERT_TRUE(pair.open());
  ByteVector data(10'000'000);
  Prng prng(1);
  for (auto& b : data) b = static_cast<std::uint8_t>(prng.next());

  struct Direction {
    TlsSession& from;
    TlsSession& to;
    std::size_t sent = 0;
    ByteVector got;
  } directions[] = {{pair.client, pair.server, 0, {}}, {pair.server, pair.client, 0, {}}};
  std::array<std::uint8_t, 20'000> buffer;
  for (int turn = 0; turn < 100'000; ++turn) {
    bool done = true;
    for (Direction& d : directions) {
      d.sent += must(d.from.write(Bytes(data).subspan(d.sent)));
      EXPECT_LE(d.from.output().size(), TlsSession::kOutputBytesMax);
      if (turn % 50 == 49) wolfSSL_update_keys(d.from.native());
      pair.piece = 1 + prng.below(40'000);
      Status status;
      pair.carry(d.from, d.to, status);
      ASSERT_TRUE(status) << status.error().what;
      while (const std::size_t n = must(d.to.read(buffer))) {
        d.got.insert(d.got.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
      }
      done = done && d.got.size() == data.size();
    }
    if (done) break;
  }
  for (const Direction& d : directions) EXPECT_EQ(d.got, data);
}

TEST(TlsSession, StopsTakingWhatNobodyReads) {
  Pair pair(server_options(relay()), pinned());
  pair.exchange();
  const ByteVector data(200'000, 'x');
  std::size_t sent = 0;
  for (int i = 0; i < 100; ++i) {
    sent += must(pair.client.write(Bytes(data).subspan(sent)));
    pair.exchange();
  }
  EXPECT_LT(sent, data.size());
  EXPECT_FALSE(pair.server.wants_input());
  EXPECT_EQ(*pair.client.write(as_bytes("x")), 0u);
  EXPECT_EQ(pair.server.feed(as_bytes("x")).error().code, ENOBUFS);
  // And it was not final.
  std::string got;
  for (int i = 0; i < 100 && got.size() < data.size(); ++i) {
    got += read_text(pair.server);
    sent += must(pair.client.write(Bytes(data).subspan(sent)));
    pair.exchange();
  }
  EXPECT_EQ(got.size(), data.size());
}

TEST(TlsSession, ChoosesAlpn) {
  ServerTls server = server_options(relay());
  server.alpn = {"adit-h2/1", "http/1.1"};
  ClientTls client = pinned();
  const struct {
    std::vector<std::string> offered;
    std::string chosen;
  } table[] = {{{"http/1.1"}, "http/1.1"}, {{"x", "adit-h2/1"}, "adit-h2/1"}, {{}, ""}};
  for (const auto& [offered, chosen] : table) {
    client.alpn = offered;
    Pair pair(server, client);
    pair.exchange();
    ASSERT_TRUE(pair.open());
    EXPECT_EQ(pair.server.alpn(), chosen);
    EXPECT_EQ(pair.client.alpn(), chosen);
  }
  {
    // RFC 7301 §3.2: no protocol in common is a fatal alert.
    client.alpn = {"h3"};
    Pair pair(server, client);
    pair.exchange();
    EXPECT_FALSE(pair.server_status);
    EXPECT_EQ(pair.server.alert_sent(), 120);
    EXPECT_EQ(pair.client.alert_received(), 120);
    EXPECT_EQ(pair.error(pair.client_status),
              "the peer ended the TLS connection: no_application_protocol");
  }
  {
    // A server that knows nothing of ALPN.
    Pair pair(server_options(relay()), client);
    pair.exchange();
    EXPECT_TRUE(pair.open());
    EXPECT_EQ(pair.client.alpn(), "");
  }
  client.alpn = {"a,b"};
  EXPECT_FALSE(TlsContext::client(client));
}

TEST(TlsSession, ServerSeesTheKeyOfTheClient) {
  ServerTls server = server_options(relay());
  server.request_client_certificate = true;
  Pair pair(server, pinned_with(agent()));
  pair.piece = 1;
  EXPECT_TRUE(pair.server.peer_spki_der().empty());
  pair.exchange();
  ASSERT_TRUE(pair.open());
  EXPECT_EQ(pair.server.peer_spki_der(), agent().key.public_key_spki_der());
  EXPECT_EQ(key_id_of_spki(pair.server.peer_spki_der()), agent().key.id());
  // One that has none is let in, and known by that.
  Pair anonymous(server, pinned());
  anonymous.exchange();
  ASSERT_TRUE(anonymous.open());
  EXPECT_TRUE(anonymous.server.peer_spki_der().empty());
}

TEST(TlsSession, AnExpiredOrFutureIdentityIsStillTheKey) {
  for (std::int64_t start : {1'000'000'000ll, 4'000'000'000ll}) {
    Identity old("old.example");
    old.certificate = must(self_signed(old.key, {"old.example"}, WallTime{start * 1'000'000'000},
                                       std::chrono::hours(1)));
    ServerTls server = server_options(old);
    server.request_client_certificate = true;
    Pair pair(server, pinned_with(old));
    pair.exchange();
    ASSERT_TRUE(pair.open()) << pair.error(pair.client_status) << pair.error(pair.server_status);
    EXPECT_EQ(pair.server.peer_spki_der(), old.key.public_key_spki_der());
    EXPECT_EQ(pair.client.peer_spki_der(), old.key.public_key_spki_der());
  }
}

// RFC 8446 §4.4.3: a certificate alone proves nothing. Each side shows the other's certificate and
// signs with its own key.
TEST(TlsSession, RefusesACertificateWithoutItsKey) {
  const Identity thief("thief.example");
  const Bytes key = thief.key.pkcs8_der();
  const auto steal = [&](TlsSession& session) {
    ASSERT_EQ(wolfSSL_use_PrivateKey_buffer(session.native(), key.data(),
                                            static_cast<long>(key.size()), WOLFSSL_FILETYPE_ASN1),
              WOLFSSL_SUCCESS);
  };
  {
    ServerTls server = server_options(relay());
    server.request_client_certificate = true;
    Pair pair(server, pinned_with(agent()));
    steal(pair.client);
    pair.exchange();
    EXPECT_FALSE(pair.server.handshake_done());
    EXPECT_FALSE(pair.server_status);
    EXPECT_TRUE(pair.server.peer_spki_der().empty());
    EXPECT_TRUE(pair.server.alert_sent());
  }
  {
    Pair pair(server_options(relay()), pinned());
    steal(pair.server);
    pair.exchange();
    EXPECT_FALSE(pair.client.handshake_done());
    EXPECT_FALSE(pair.client_status);
    EXPECT_TRUE(pair.client.peer_spki_der().empty());
  }
}

TEST(TlsSession, NoticesEveryChangedByteOfAHandshake) {
  ServerTls server = server_options(relay());
  server.request_client_certificate = true;
  const ClientTls client = pinned_with(agent());
  Pair whole(server, client);
  const std::size_t hello_size = whole.client.output().size();
  whole.server_status = whole.server.feed(whole.client.output());
  const std::size_t flight = whole.server.output().size();
  whole.client.consume_output(hello_size);
  whole.exchange();
  ASSERT_TRUE(whole.open());
  for (std::size_t at = 0; at < flight; at += 13) {
    Pair pair(server, client);
    ByteVector hello(pair.client.output().begin(), pair.client.output().end());
    pair.client.consume_output(hello.size());
    ASSERT_TRUE(pair.server.feed(hello));
    ByteVector answer(pair.server.output().begin(), pair.server.output().end());
    pair.server.consume_output(answer.size());
    // Legacy bytes that nobody covers before the keys exist would still fail the transcript.
    answer[std::min(at, answer.size() - 1)] ^= 0x20;
    pair.client_status = pair.client.feed(answer);
    pair.exchange();
    EXPECT_FALSE(pair.open()) << "byte " << at;
  }
}

TEST(TlsSession, EachDirectionClosesByItself) {
  ServerTls server = server_options(relay());
  server.request_client_certificate = true;
  Pair pair(server, pinned_with(agent()));
  pair.exchange();
  write_text(pair.client, "request");
  pair.client.close_notify();
  pair.client.close_notify();
  EXPECT_EQ(pair.client.write(as_bytes("more")).error().code, EPIPE);
  pair.exchange();
  ASSERT_TRUE(pair.server.feed_eof());
  EXPECT_FALSE(pair.server.peer_closed());
  EXPECT_EQ(read_text(pair.server), "request");
  EXPECT_TRUE(pair.server.peer_closed());
  EXPECT_FALSE(pair.server.truncated());
  EXPECT_EQ(pair.server.alert_received(), 0);
  EXPECT_EQ(pair.client.alert_sent(), 0);

  write_text(pair.server, "answer");
  pair.exchange();
  EXPECT_EQ(read_text(pair.client), "answer");
  EXPECT_FALSE(pair.client.peer_closed());
  write_text(pair.server, "and more");
  pair.server.close_notify();
  EXPECT_EQ(pair.server.alert_sent(), 0);
  pair.exchange();
  EXPECT_EQ(read_text(pair.client), "and more");
  EXPECT_TRUE(pair.client.peer_closed());
  EXPECT_TRUE(pair.client.feed(as_bytes("ignored behind the end")));
  EXPECT_EQ(read_text(pair.client), "");
  // Both ways closed, and the session still knows whom it spoke with.
  EXPECT_EQ(pair.server.peer_spki_der(), agent().key.public_key_spki_der());
  EXPECT_TRUE(pair.server.handshake_done());
  EXPECT_TRUE(pair.server.output().empty() && pair.client.output().empty());
}

TEST(TlsSession, ACutConnectionIsNoEnd) {
  Pair pair(server_options(relay()), pinned());
  pair.exchange();
  write_text(pair.client, "half a mess");
  pair.exchange();
  ASSERT_TRUE(pair.server.feed_eof());
  EXPECT_TRUE(pair.server.truncated());
  EXPECT_EQ(read_text(pair.server),
            "half a mess<the connection was cut: it ended without a TLS close_notify>");
  EXPECT_FALSE(pair.server.peer_closed());
  EXPECT_EQ(pair.server.write(as_bytes("x")).error().code, ECONNABORTED);

  auto early = must(TlsSession::client(pair.client_context, "relay.example"));
  EXPECT_EQ(early.feed_eof().error().what,
            "the peer closed the connection during the TLS handshake");
}

TEST(TlsSession, ExportsTheSameKeysOnBothSides) {
  Pair pair(server_options(relay()), pinned());
  EXPECT_FALSE(pair.client.export_keying_material("EXPORTER-adit", {}, 32));
  pair.exchange();
  const auto client = must(pair.client.export_keying_material("EXPORTER-adit", as_bytes("c"), 32));
  EXPECT_EQ(client.size(), 32u);
  EXPECT_EQ(must(pair.server.export_keying_material("EXPORTER-adit", as_bytes("c"), 32)), client);
  EXPECT_NE(must(pair.server.export_keying_material("EXPORTER-other", as_bytes("c"), 32)), client);
  EXPECT_NE(must(pair.server.export_keying_material("EXPORTER-adit", as_bytes("d"), 32)), client);
  EXPECT_FALSE(pair.server.export_keying_material("EXPORTER-adit", {}, 0));
  Pair other(server_options(relay()), pinned());
  other.exchange();
  EXPECT_NE(must(other.client.export_keying_material("EXPORTER-adit", as_bytes("c"), 32)), client);
}

TEST(TlsSession, MayBeMovedInTheMiddle) {
  Pair pair(server_options(relay()), pinned());
  TlsSession moved = std::move(pair.client);
  pair.client = std::move(moved);
  pair.exchange();
  ASSERT_TRUE(pair.open());
  // Sessions outlive the owner's hold on their context.
  pair.server_context = must(TlsContext::server(server_options(relay())));
  write_text(pair.server, "still here");
  pair.exchange();
  EXPECT_EQ(read_text(pair.client), "still here");
}

TEST(TlsSession, Tls12IsForVisitorsOnly) {
  const auto old_client = [](Pair& pair) {
    WOLFSSL_CTX* context = pair.client_context.native();
    ASSERT_EQ(wolfSSL_CTX_set_max_proto_version(context, TLS1_2_VERSION), WOLFSSL_SUCCESS);
    // A WebPki client that knows no root refuses; that is another test's matter.
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, nullptr);
    pair.client = must(TlsSession::client(pair.client_context, "relay.example"));
  };
  ClientTls client;
  const TestFolder folder;
  folder.write("roots.pem", relay().certificate);
  client.roots_pem_file = folder / "roots.pem";
  {
    Pair pair(server_options(relay()), client);
    old_client(pair);
    pair.exchange();
    ASSERT_TRUE(pair.open()) << pair.error(pair.server_status) << pair.error(pair.client_status);
    EXPECT_EQ(pair.server.protocol(), "TLSv1.2");
    write_text(pair.client, "GET");
    pair.client.close_notify();
    pair.exchange();
    EXPECT_EQ(read_text(pair.server), "GET");
    EXPECT_TRUE(pair.server.peer_closed());
  }
  for (bool request : {false, true}) {
    ServerTls server = server_options(relay());
    server.tls13_only = !request;
    server.request_client_certificate = request;
    Pair pair(server, client);
    old_client(pair);
    pair.exchange();
    EXPECT_FALSE(pair.server.handshake_done());
    EXPECT_EQ(pair.server.alert_sent(), 70);
  }
}

TEST(TlsContext, SaysWhatIsWrong) {
  ServerTls options;
  EXPECT_EQ(TlsContext::server(options).error().what, "no PEM block with a certificate");
  options.certificate_chain_pem = relay().certificate;
  EXPECT_EQ(TlsContext::server(options).error().what, "no PEM block with a private key");
  options.private_key_pem = agent().key_pem;
  EXPECT_EQ(TlsContext::server(options).error().what,
            "the private key does not belong to the certificate");
}

TEST(TlsSession, GarbageIsAnErrorForBothRoles) {
  Prng prng(7);
  for (int round = 0; round < 300; ++round) {
    Pair pair(server_options(relay()), pinned());
    ByteVector garbage(1 + prng.below(2000));
    for (auto& b : garbage) b = static_cast<std::uint8_t>(prng.next());
    if (round % 2 == 1) {
      // The header of a handshake record, so that it reaches further in.
      const std::uint8_t header[] = {22, 3, 3, 0, 200, static_cast<std::uint8_t>(prng.below(25)),
                                     0, 0, 196};
      std::copy_n(header, std::min(sizeof header, garbage.size()), garbage.begin());
    }
    for (TlsSession* session : {&pair.server, &pair.client}) {
      Status status = session->feed(garbage);
      if (status) status = session->feed_eof();
      EXPECT_FALSE(status);
      EXPECT_FALSE(session->handshake_done());
      EXPECT_FALSE(session->feed(garbage));  // the error stays
      EXPECT_FALSE(session->write(garbage));
    }
  }
}

TEST(TlsSession, UnderstandsABareAlertInTheHandshake) {
  for (std::size_t piece : {std::size_t{1}, std::size_t{100}}) {
    Pair pair(server_options(relay()), pinned());
    ASSERT_TRUE(pair.server.feed(pair.client.output()));
    const std::uint8_t unknown_ca[] = {21, 3, 3, 0, 2, 2, 48};
    Status status;
    for (Bytes left = unknown_ca; !left.empty() && status;) {
      const Bytes next = left.first(std::min(piece, left.size()));
      left = left.subspan(next.size());
      status = pair.server.feed(next);
    }
    ASSERT_FALSE(status);
    // Where the record came in pieces, the reason had not arrived yet when the library gave up.
    EXPECT_EQ(status.error().what, piece == 100 ? "the peer ended the TLS connection: unknown_ca"
                                                : "TLS: parse error on header");
    EXPECT_EQ(pair.server.alert_received().has_value(), piece == 100);
  }
}

TEST(TlsSession, RepeatsExactlyFromASeed) {
  if (!deterministic_is_available()) GTEST_SKIP() << "wolfSSL was built without WC_RNG_SEED_CB";
  // In a process of its own: there is no way back.
  EXPECT_EXIT(
      {
        const auto run = [](std::uint64_t seed) {
          init_deterministic(seed);
          Identity id("relay.example");
          ServerTls server = server_options(id);
          server.request_client_certificate = true;
          Pair pair(server, pinned_with(id));
          ByteVector all(pair.client.output().begin(), pair.client.output().end());
          pair.exchange();
          write_text(pair.client, "x");
          all.insert(all.end(), pair.client.output().begin(), pair.client.output().end());
          return hex_encode(sha256(all));
        };
        const std::string first = run(1);
        std::exit(run(1) == first && run(2) != first ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace adit::crypto
