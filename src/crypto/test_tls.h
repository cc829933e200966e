// For the tests of TLS: two sessions, and what carries bytes between them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/certificate.h"
#include "crypto/key.h"
#include "crypto/tls_session.h"

namespace adit::crypto {

// 2020-09-13 and half a century on: valid whatever the machine's clock says.
inline constexpr WallTime kTestStart{1'600'000'000'000'000'000};
inline constexpr Duration kTestValidity = std::chrono::hours(24 * 365 * 50);

struct Identity {
  PrivateKey key = PrivateKey::generate();
  std::string certificate, key_pem = key.to_pkcs8_pem();

  explicit Identity(const std::string& name) {
    auto pem = self_signed(key, {name}, kTestStart, kTestValidity);
    EXPECT_TRUE(pem) << pem.error().what;
    if (pem) certificate = *pem;
  }
};

inline ServerTls server_options(const Identity& id) {
  ServerTls options;
  options.certificate_chain_pem = id.certificate;
  options.private_key_pem = id.key_pem;
  return options;
}

// A client that takes any certificate.
inline ClientTls pinned() {
  ClientTls options;
  options.verify = Verify::Callback;
  return options;
}

inline ClientTls pinned_with(const Identity& id) {
  ClientTls options = pinned();
  options.certificate_chain_pem = id.certificate;
  options.private_key_pem = id.key_pem;
  return options;
}

template <class T>
T must(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().what;
  return std::move(*result);
}

// A connection without delay: exchange() carries bytes until both sides are silent.
struct Pair {
  TlsContext server_context, client_context;
  TlsSession server, client;
  std::size_t piece = 16 * 1024;
  Status server_status, client_status;  // of the last feed()

  Pair(const ServerTls& s, const ClientTls& c, std::string_view host = "relay.example")
      : server_context(must(TlsContext::server(s))),
        client_context(must(TlsContext::client(c))),
        server(must(TlsSession::server(server_context))),
        client(must(TlsSession::client(client_context, host))) {}

  void exchange() {
    while (carry(client, server, server_status) + carry(server, client, client_status) > 0) {
    }
  }

  std::size_t carry(TlsSession& from, TlsSession& to, Status& status) const {
    std::size_t moved = 0;
    while (status && !from.output().empty() && to.wants_input()) {
      const Bytes next = from.output().first(std::min(piece, from.output().size()));
      const ByteVector copy(next.begin(), next.end());
      from.consume_output(copy.size());
      status = to.feed(copy);
      moved += copy.size();
    }
    return moved;
  }

  bool open() const { return server.handshake_done() && client.handshake_done(); }
  std::string error(const Status& status) const { return status ? "" : status.error().what; }
};

// All that can be read now; an error's text in angle brackets behind it.
inline std::string read_text(TlsSession& session) {
  std::string out;
  std::array<std::uint8_t, 4096> buffer;
  for (;;) {
    auto n = session.read(buffer);
    if (!n) return out + "<" + n.error().what + ">";
    if (*n == 0) return out;
    out.append(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*n));
  }
}

inline void write_text(TlsSession& session, std::string_view text) {
  auto n = session.write(as_bytes(text));
  ASSERT_TRUE(n) << n.error().what;
  ASSERT_EQ(*n, text.size());
}

}  // namespace adit::crypto
