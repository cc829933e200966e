// One TLS connection over memory: ciphertext and plaintext in and out, no descriptors, no clock.
//
//   received bytes --> feed() --> read() --> plaintext
//   plaintext --> write() --> output(), consume_output() --> bytes to send
//
// The owner's turn: feed what came; read() until it yields 0; send output(). Also after an error:
// output() then holds the alert that tells the peer. Any call may add to output().
//
// States: handshake (read and write yield 0) -> open -> each direction closes by itself (RFC 8446
// §6.1): the peer's with peer_closed(), ours with close_notify(). An error is final: every later
// call returns it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/tls_context.h"

namespace adit::crypto {

class TlsSession {
 public:
  // Room for one whole record (RFC 8446 §5.2: 5 + 2^14 + 256 bytes) that is not complete yet.
  static constexpr std::size_t kInputBytesMax = 17 * 1024;
  static constexpr std::size_t kOutputBytesMax = 64 * 1024;

  static Result<TlsSession> server(const TlsContext& context);
  // `host`: name or IP literal of the peer, for SNI and, under Verify::WebPki, for the check.
  // output() holds the ClientHello at once.
  // `hint`: see TlsContext::new_session().
  static Result<TlsSession> client(const TlsContext& context, std::string_view host,
                                   std::string_view hint = {});

  TlsSession(TlsSession&&) noexcept;
  TlsSession& operator=(TlsSession&&) noexcept;
  ~TlsSession();  // sends nothing

  // Whether feed() may be called: less than kInputBytesMax waits to be read and output is below its
  // bound. When false, stop receiving until read() and consume_output() made room.
  bool wants_input() const;
  // Takes all of `ciphertext`, so what waits is bounded by kInputBytesMax plus one call's bytes.
  // ENOBUFS (not final, nothing taken) where wants_input() is false. Runs the handshake; records
  // behind it are decrypted by read().
  Status feed(Bytes ciphertext);
  // The peer's bytes have ended. During the handshake an error; behind it read() reports the error
  // ECONNABORTED once everything before was read, unless close_notify had come: somebody else may
  // have cut the connection.
  Status feed_eof();

  Bytes output() const;  // valid until the next call that is not const
  void consume_output(std::size_t n);

  // Decrypted bytes, at most one record a call. 0: nothing now (or never again: peer_closed()), or
  // output is at its bound.
  Result<std::size_t> read(MutableBytes plain);
  // Takes as much of `plain` as output has room for; 0 during the handshake and when full. EPIPE
  // behind close_notify().
  Result<std::size_t> write(Bytes plain);
  // Ends our direction: the last record we send. Nothing happens when sent already or after an
  // error.
  void close_notify();

  bool handshake_done() const;
  bool peer_closed() const;  // its close_notify was read: everything it sent has been
  bool truncated() const;    // feed_eof() without it
  std::optional<std::uint8_t> alert_sent() const;  // 0 is close_notify
  std::optional<std::uint8_t> alert_received() const;

  // After the handshake; see tls_native.h.
  std::string alpn() const;
  ByteVector peer_spki_der() const;
  std::string protocol() const;  // "TLSv1.3"
  std::string cipher() const;    // "TLS_AES_128_GCM_SHA256"
  Result<ByteVector> export_keying_material(std::string_view label, Bytes context,
                                            std::size_t length) const;
  // After the handshake: export_keying_material() is not called any more, and what it needs (3 KiB)
  // may go.
  void forget_keying_material();

  WOLFSSL* native() const;

 private:
  struct State;
  explicit TlsSession(std::unique_ptr<State> state);
  static Result<TlsSession> make(const TlsContext& context, std::string_view host,
                                 std::string_view hint);
  Status handshake();

  std::unique_ptr<State> state_;  // its address is known to the library's callbacks
};

}  // namespace adit::crypto
