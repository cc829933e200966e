// What TLS sessions of one kind share: certificate and key, trust, cipher order, ALPN.
//
// Threads: a context is not changed after it is made, and the library counts its references and
// guards its certificate store with locks of its own (it is built without SINGLE_THREADED), so
// sessions on several threads may be made from one context. A session stays on one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

struct WOLFSSL;
struct WOLFSSL_CTX;

namespace adit::crypto {

struct ServerTls {
  std::string certificate_chain_pem;  // leaf first
  std::string private_key_pem;
  // In order of preference. A client that offers ALPN but none of these is refused with alert 120;
  // one that offers none is served. Empty: ALPN is ignored.
  std::vector<std::string> alpn;
  // Ask for a certificate and take any, self-signed and out of date alike: the key is the identity,
  // and the handshake's CertificateVerify proves it. A client without one is let through: look at
  // peer_spki_der(). Implies tls13_only.
  bool request_client_certificate = false;
  bool tls13_only = false;  // false: also TLS 1.2
};

enum class Verify {
  // The chain must lead to a root, and be valid now and for the host. RFC 9525.
  WebPki,
  // Any leaf certificate passes (its CertificateVerify still must): the owner compares
  // peer_spki_der() with what it expects before it sends anything. Implies tls13_only.
  Callback,
};

struct ClientTls {
  std::string certificate_chain_pem;  // shown to a server that asks; empty: none
  std::string private_key_pem;
  std::vector<std::string> alpn;  // offered, in order of preference
  Verify verify = Verify::WebPki;
  std::string roots_pem_file;  // WebPki only; empty: where distributions keep theirs
  bool tls13_only = false;
};

// What the library's verify callback knows about one session. Lives as long as its WOLFSSL.
struct PeerCheck {
  std::string host;     // empty on a server
  std::string problem;  // why the peer's certificate was refused, for people
};

struct NativeFree {
  void operator()(WOLFSSL* ssl) const;
};
// In this order: the session goes first.
struct NativeTls {
  std::unique_ptr<PeerCheck> check;
  std::unique_ptr<WOLFSSL, NativeFree> ssl;
};

class TlsContext {
 public:
  static Result<TlsContext> server(const ServerTls& options);
  static Result<TlsContext> client(const ClientTls& options);

  TlsContext(TlsContext&& o) noexcept;
  TlsContext& operator=(TlsContext&& o) noexcept;
  ~TlsContext();  // sessions made from it live on: the library counts references

  // Library settings that are ours to make for every session (ALPN, and on a client SNI and the
  // check of the host) are per session there, so a session is made by this call and not by
  // wolfSSL_new: without it a WebPki client refuses every server. `host`: for a client, name or IP
  // literal; else empty. `hint`: one more protocol name for this session to offer, behind the
  // context's.
  Result<NativeTls> new_session(std::string_view host = {}, std::string_view hint = {}) const;

  // For an engine that has to set more (QUIC's methods), before the first session is made.
  WOLFSSL_CTX* native() const { return native_; }
  bool is_server() const { return is_server_; }

 private:
  TlsContext(WOLFSSL_CTX* native, bool is_server, std::string alpn, bool checks_host);

  WOLFSSL_CTX* native_;
  bool is_server_;
  bool checks_host_;
  std::string alpn_;  // comma separated, as the library takes it
};

// Whether this CPU has AES and carry-less multiplication instructions (AES-NI and PCLMULQDQ;
// ARMv8's crypto extension).
bool has_hardware_aes();

// The library's cipher suite list in the order that contexts use: AES-128-GCM first where hardware
// does it and the library was built to use that hardware, ChaCha20-Poly1305 first elsewhere.
std::string_view cipher_order();

}  // namespace adit::crypto
