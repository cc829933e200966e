// Verify::WebPki against certificates of a private authority, made by the openssl program.
#include <gtest/gtest.h>

#include <cerrno>
#include <ctime>

#include "crypto/init.h"
#include "crypto/test_files.h"
#include "crypto/test_tls.h"

namespace adit::crypto {
namespace {

constexpr std::int64_t kYear = 365 * 86400;
std::int64_t shift = 0;  // of the clock that certificates are checked with
std::int64_t shifted_clock() { return std::time(nullptr) + shift; }

// An authority, an intermediate below it, and leaves of both, each as NAME.pem and NAME.key.
class Authority : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!has_openssl()) return;
    folder = new TestFolder;
    const std::string root = "openssl req -x509 -nodes -newkey ec -pkeyopt "
                             "ec_paramgen_curve:P-256 -days 3650 ";
    must_run(root + "-subj /CN=root -keyout root.key -out root.pem");
    must_run(root + "-subj /CN=stranger -keyout stranger.key -out stranger.pem");
    issue("middle", "root", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n");
    issue("good", "root", "subjectAltName=DNS:good.example,DNS:*.wild.example,IP:192.0.2.7\n");
    issue("below", "middle", "subjectAltName=DNS:good.example\n");
    // A leaf that plays authority.
    issue("forged", "good", "subjectAltName=DNS:good.example\n");
    issue("nameless", "root", "extendedKeyUsage=serverAuth\n");
    issue("client", "root", "subjectAltName=DNS:good.example\nextendedKeyUsage=clientAuth\n");
    issue("rsa", "root", "subjectAltName=DNS:good.example\n", "rsa:2048");
    must_run("cat below.pem middle.pem > chain.pem; cat forged.pem good.pem > forged_chain.pem");
  }
  static void TearDownTestSuite() {
    delete folder;
    folder = nullptr;
  }
  void SetUp() override {
    if (folder == nullptr) GTEST_SKIP() << "no openssl program";
  }
  void TearDown() override {
    shift = 0;
    set_wall_clock(nullptr);
  }

  static void must_run(const std::string& command) {
    const auto ran = folder->run(command);
    ASSERT_EQ(ran.code, 0) << command << "\n" << ran.output;
  }
  static void issue(const std::string& name, const std::string& issuer,
                    const std::string& extensions,
                    const std::string& key = "ec -pkeyopt ec_paramgen_curve:P-256") {
    folder->write(name + ".ext", extensions);
    must_run("openssl req -new -nodes -subj /CN=good.example -newkey " + key + " -keyout " + name +
             ".key -out " + name + ".csr");
    must_run("openssl x509 -req -in " + name + ".csr -CA " + issuer + ".pem -CAkey " + issuer +
             ".key -CAcreateserial -days 365 -extfile " + name + ".ext -out " + name + ".pem");
  }

  // The error of a client that trusts `roots`, empty where both sides are content.
  static std::string connect(const std::string& chain, const std::string& key,
                             std::string_view host, const std::string& roots = "root.pem",
                             std::int64_t seconds_later = 0) {
    ServerTls server;
    server.certificate_chain_pem = folder->read(chain);
    server.private_key_pem = folder->read(key);
    ClientTls client;
    client.roots_pem_file = *folder / roots;
    Pair pair(server, client, host);
    shift = seconds_later;
    pair.exchange();
    shift = 0;
    if (pair.open()) return "";
    EXPECT_FALSE(pair.client_status);
    EXPECT_FALSE(pair.client.handshake_done());
    EXPECT_TRUE(pair.client.alert_sent());
    EXPECT_EQ(pair.client.alert_sent(), pair.server.alert_received());
    EXPECT_EQ(pair.client_status.error().code, EKEYREJECTED);
    const std::string what = pair.error(pair.client_status);
    const std::string prefix = "the peer's certificate was refused: ";
    EXPECT_TRUE(what.starts_with(prefix)) << what;
    return what.substr(std::min(what.size(), prefix.size()));
  }

  static inline TestFolder* folder = nullptr;
};

TEST_F(Authority, VouchesForItsNames) {
  for (const char* host : {"good.example", "GOOD.example.", "a.wild.example", "192.0.2.7"}) {
    EXPECT_EQ(connect("good.pem", "good.key", host), "") << host;
  }
  EXPECT_EQ(connect("chain.pem", "below.key", "good.example"), "");
  EXPECT_EQ(connect("rsa.pem", "rsa.key", "good.example"), "");
}

TEST_F(Authority, DoesNotVouchForOthers) {
  const std::string names = "it is for good.example, *.wild.example, 192.0.2.7, not for ";
  for (const char* host : {"wrong.example", "wild.example", "a.b.wild.example", "192.0.2.8"}) {
    EXPECT_EQ(connect("good.pem", "good.key", host), names + host);
  }
  EXPECT_EQ(connect("nameless.pem", "nameless.key", "good.example"),
            "it is for no host at all, not for good.example");
}

TEST_F(Authority, MustBeKnown) {
  const std::string unknown = "it was issued by an authority that is not trusted here";
  EXPECT_EQ(connect("good.pem", "good.key", "good.example", "stranger.pem"), unknown);
  EXPECT_EQ(connect("chain.pem", "below.key", "good.example", "stranger.pem"), unknown);
  EXPECT_EQ(connect("below.pem", "below.key", "good.example"), unknown);  // a link is missing
  EXPECT_NE(connect("forged_chain.pem", "forged.key", "good.example"), "");
}

TEST_F(Authority, TimesItsCertificates) {
  set_wall_clock(shifted_clock);
  const auto later = [](std::int64_t seconds) {
    return connect("good.pem", "good.key", "good.example", "root.pem", seconds);
  };
  EXPECT_EQ(later(0), "");
  EXPECT_EQ(later(kYear - 3600), "");
  const auto expect_dated = [](const std::string& what, std::string_view start) {
    EXPECT_TRUE(what.starts_with(std::string(start) + " 20")) << what;
    EXPECT_TRUE(what.ends_with(" UTC (is this machine's clock right?)")) << what;
  };
  expect_dated(later(kYear + 3600), "it has expired on");
  expect_dated(later(-2 * 86400), "it is not valid before");
  // Roots are checked when they are loaded.
  shift = 20 * kYear;
  ClientTls client;
  client.roots_pem_file = *folder / "root.pem";
  EXPECT_EQ(TlsContext::client(client).error().what,
            (*folder / "root.pem").string() +
                ": no root certificate that can be used (is the clock right?)");
}

TEST_F(Authority, LimitsTheUse) {
  EXPECT_EQ(connect("client.pem", "client.key", "good.example"), "it is not meant for this use");
}

TEST_F(Authority, ManyRootsWithABadOneAmongThem) {
  folder->write("bundle.pem", "# roots\n" + folder->read("stranger.pem") +
                                  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" +
                                  folder->read("root.pem"));
  EXPECT_EQ(connect("good.pem", "good.key", "good.example", "bundle.pem"), "");
}

TEST_F(Authority, IsAskedByRootsAndHostOnly) {
  ClientTls client;
  client.roots_pem_file = *folder / "absent.pem";
  EXPECT_EQ(TlsContext::client(client).error().code, ENOENT);
  folder->write("empty.pem", "nothing\n");
  client.roots_pem_file = *folder / "empty.pem";
  EXPECT_EQ(TlsContext::client(client).error().what,
            (*folder / "empty.pem").string() + ": no PEM block with a certificate");
  client.roots_pem_file = *folder / "root.pem";
  auto context = must(TlsContext::client(client));
  EXPECT_FALSE(TlsSession::client(context, ""));
  EXPECT_FALSE(TlsSession::client(context, std::string(300, 'a')));
}

// One that we made, trusted explicitly: the relay without a public name.
TEST(WebPki, TakesASelfSignedCertificateAsItsOwnRoot) {
  const TestFolder files;
  const Identity relay("relay.example"), other("relay.example");
  files.write("relay.pem", relay.certificate);
  ClientTls client;
  client.roots_pem_file = files / "relay.pem";
  Pair good(server_options(relay), client, "relay.example");
  good.exchange();
  EXPECT_TRUE(good.open()) << good.error(good.client_status);
  Pair bad(server_options(other), client, "relay.example");
  bad.exchange();
  EXPECT_FALSE(bad.client.handshake_done());
  EXPECT_FALSE(bad.client_status);
}

TEST(WebPki, FindsTheRootsOfTheSystem) {
  auto context = TlsContext::client({});
  if (!context && context.error().code == ENOENT) GTEST_SKIP() << context.error().what;
  ASSERT_TRUE(context) << context.error().what;
  const Identity relay("relay.example");
  auto server_context = must(TlsContext::server(server_options(relay)));
  auto server = must(TlsSession::server(server_context));
  auto client = must(TlsSession::client(*context, "relay.example"));
  ASSERT_TRUE(server.feed(client.output()));
  EXPECT_EQ(client.feed(server.output()).error().what,
            "the peer's certificate was refused: it was issued by an authority that is not "
            "trusted here");
  EXPECT_EQ(client.alert_sent(), 48);  // unknown_ca
}

}  // namespace
}  // namespace adit::crypto
