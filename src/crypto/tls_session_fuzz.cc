// Bytes of a peer, fed to a TLS server or client that knows nothing else of it.
//
// The first byte chooses: bit 0 the role; bit 1 whether a whole handshake comes first, so that the
// bytes arrive where records are decrypted; bits 2 and up the size of the pieces. Random numbers
// come from a fixed stream where the library allows it, so a finding repeats.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "crypto/certificate.h"
#include "crypto/init.h"
#include "crypto/key.h"
#include "crypto/tls_session.h"

namespace adit::crypto {
namespace {

struct Contexts {
  TlsContext server, client;
};

Contexts make_contexts() {
  const PrivateKey key = PrivateKey::generate();
  auto certificate = self_signed(key, {"relay.example"}, WallTime{1'600'000'000'000'000'000},
                                 std::chrono::hours(24 * 365 * 50));
  CHECK(certificate);
  ServerTls server;
  server.certificate_chain_pem = *certificate;
  server.private_key_pem = key.to_pkcs8_pem();
  server.alpn = {"adit-h2/1"};
  server.request_client_certificate = true;
  ClientTls client;
  client.certificate_chain_pem = *certificate;
  client.private_key_pem = server.private_key_pem;
  client.alpn = server.alpn;
  client.verify = Verify::Callback;
  auto server_context = TlsContext::server(server);
  auto client_context = TlsContext::client(client);
  CHECK(server_context && client_context);
  return {std::move(*server_context), std::move(*client_context)};
}

void carry(TlsSession& from, TlsSession& to) {
  CHECK(to.feed(from.output()));
  from.consume_output(from.output().size());
}

void shake_hands(TlsSession& client, TlsSession& server) {
  carry(client, server);
  carry(server, client);
  carry(client, server);
  CHECK(client.handshake_done() && server.handshake_done());
}

void read_all(TlsSession& session) {
  std::array<std::uint8_t, 1000> buffer;
  for (;;) {
    auto n = session.read(buffer);
    if (!n || *n == 0) return;
  }
}

void run(Bytes in) {
  if (deterministic_is_available()) init_deterministic(1);
  static const Contexts contexts = make_contexts();
  if (deterministic_is_available()) init_deterministic(2);
  if (in.empty()) return;
  const std::uint8_t choice = in[0];
  in = in.subspan(1);
  auto server = TlsSession::server(contexts.server);
  auto client = TlsSession::client(contexts.client, "relay.example");
  CHECK(server && client);
  if (choice & 2) shake_hands(*client, *server);
  TlsSession& session = choice & 1 ? *client : *server;

  const std::size_t piece = choice >> 2 == 0 ? std::max<std::size_t>(in.size(), 1) : choice >> 2;
  while (!in.empty() && session.wants_input()) {
    const Bytes next = in.first(std::min(piece, in.size()));
    in = in.subspan(next.size());
    if (!session.feed(next)) break;
    read_all(session);
    (void)session.write(next);
    CHECK(session.output().size() < 2 * TlsSession::kOutputBytesMax);
    session.consume_output(session.output().size());
  }
  // What has to hold whatever came.
  CHECK(choice & 2 || session.peer_spki_der().empty() || session.handshake_done());
  (void)session.feed_eof();
  read_all(session);
  session.close_notify();
}

}  // namespace
}  // namespace adit::crypto

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  adit::crypto::run({data, size});
  return 0;
}
