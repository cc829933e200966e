#include "crypto/tls_session.h"

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"
#include "crypto/tls_native.h"

namespace adit::crypto {
namespace {

constexpr std::size_t kRecordBytesMax = 16 * 1024;
// Header, content type, tag; of TLS 1.2 also the explicit nonce.
constexpr std::size_t kRecordOverheadMax = 64;
// Below this a record is not worth its overhead while output drains.
constexpr std::size_t kRecordBytesMin = 2 * 1024;
// A buffer that ran empty keeps this much: many sessions are idle most of the time.
constexpr std::size_t kIdleBufferBytes = 1024;

// Bytes appended behind and consumed in front.
class Queue {
 public:
  Bytes bytes() const { return Bytes(data_).subspan(at_); }
  std::size_t size() const { return data_.size() - at_; }

  void append(Bytes in) {
    if (at_ > 0) {
      data_.erase(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(at_));
      at_ = 0;
    }
    data_.insert(data_.end(), in.begin(), in.end());
  }
  void consume(std::size_t n) {
    CHECK(n <= size());
    at_ += n;
    if (at_ == data_.size()) clear();
  }
  void clear() {
    if (data_.capacity() > kIdleBufferBytes) give_back(data_);
    data_.clear();
    at_ = 0;
  }

 private:
  ByteVector data_;
  std::size_t at_ = 0;
};

}  // namespace

struct TlsSession::State {
  NativeTls tls;
  bool is_server = false;
  bool handshake_done = false;
  bool peer_closed = false;
  bool input_ended = false;
  bool close_sent = false;
  std::optional<Error> failure;
  std::optional<std::uint8_t> bare_alert;
  std::array<std::uint8_t, 5> last_received{};  // just after a record's header was read, that
  Queue input, output;

  WOLFSSL* ssl() const { return tls.ssl.get(); }

  Error fail(Error error) {
    failure = error;
    input.clear();
    return error;
  }

  // OpenSSL's client says in a bare record why it refuses a TLS 1.3 server, as its keys are not in
  // use yet; the library does not look into it. That is where "unknown_ca" would be: the commonest
  // reason. Not authenticated, but the handshake is over anyway.
  Error handshake_error(int code) {
    const bool bare = code == PARSE_ERROR && last_received[0] == 21 && last_received[3] == 0 &&
                      last_received[4] == 2 && input.size() >= 2;
    if (!bare) return tls_error(tls, code);
    bare_alert = input.bytes()[1];
    return Error{EPROTO, "the peer ended the TLS connection: " + alert_name(*bare_alert)};
  }

  static int on_receive(WOLFSSL*, char* buffer, int size, void* self) {
    Queue& input = static_cast<State*>(self)->input;
    if (input.size() == 0) return WOLFSSL_CBIO_ERR_WANT_READ;
    const std::size_t n = std::min(static_cast<std::size_t>(size), input.size());
    const Bytes bytes = input.bytes().first(n);
    std::ranges::copy(bytes, reinterpret_cast<std::uint8_t*>(buffer));
    std::array<std::uint8_t, 5>& last = static_cast<State*>(self)->last_received;
    for (std::uint8_t b : bytes.last(std::min(n, last.size()))) {
      std::ranges::rotate(last, last.begin() + 1);
      last.back() = b;
    }
    input.consume(n);
    return static_cast<int>(n);
  }

  // Never refuses: what we write is bounded by write(), and what the library writes by itself
  // (handshake, alerts, answers to KeyUpdate) by what feed() took.
  static int on_send(WOLFSSL*, char* buffer, int size, void* self) {
    static_cast<State*>(self)->output.append(
        {reinterpret_cast<const std::uint8_t*>(buffer), static_cast<std::size_t>(size)});
    return size;
  }
};

TlsSession::TlsSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsSession::TlsSession(TlsSession&&) noexcept = default;
TlsSession& TlsSession::operator=(TlsSession&&) noexcept = default;
TlsSession::~TlsSession() = default;

Result<TlsSession> TlsSession::make(const TlsContext& context, std::string_view host,
                                    std::string_view hint) {
  auto native = context.new_session(host, hint);
  if (!native) return std::move(native).error();
  auto state = std::make_unique<State>();
  state->tls = std::move(*native);
  state->is_server = context.is_server();
  WOLFSSL* ssl = state->ssl();
  wolfSSL_SSLSetIORecv(ssl, State::on_receive);
  wolfSSL_SSLSetIOSend(ssl, State::on_send);
  wolfSSL_SetIOReadCtx(ssl, state.get());
  wolfSSL_SetIOWriteCtx(ssl, state.get());
  return TlsSession(std::move(state));
}

Result<TlsSession> TlsSession::server(const TlsContext& context) {
  CHECK(context.is_server());
  return make(context, {}, {});
}

Result<TlsSession> TlsSession::client(const TlsContext& context, std::string_view host,
                                      std::string_view hint) {
  CHECK(!context.is_server());
  auto session = make(context, host, hint);
  if (!session) return session;
  if (Status started = session->handshake(); !started) return std::move(started).error();
  return session;
}

bool TlsSession::wants_input() const {
  return state_->input.size() < kInputBytesMax && state_->output.size() < kOutputBytesMax;
}

Status TlsSession::handshake() {
  State& s = *state_;
  const int result = s.is_server ? wolfSSL_accept(s.ssl()) : wolfSSL_connect(s.ssl());
  if (result == WOLFSSL_SUCCESS) {
    s.handshake_done = true;
    return {};
  }
  const int code = wolfSSL_get_error(s.ssl(), result);
  if (code == WOLFSSL_ERROR_WANT_READ) return {};
  return s.fail(s.handshake_error(code));
}

Status TlsSession::feed(Bytes ciphertext) {
  State& s = *state_;
  if (s.failure) return *s.failure;
  if (!wants_input()) return Error{ENOBUFS, "TLS input is full: read first"};
  // RFC 8446 §6.1: data received behind close_notify is ignored.
  if (s.peer_closed) return {};
  s.input.append(ciphertext);
  return s.handshake_done ? Status{} : handshake();
}

Status TlsSession::feed_eof() {
  State& s = *state_;
  if (s.failure) return *s.failure;
  s.input_ended = true;
  if (s.handshake_done) return {};
  return s.fail(Error{ECONNABORTED, "the peer closed the connection during the TLS handshake"});
}

Bytes TlsSession::output() const { return state_->output.bytes(); }

void TlsSession::consume_output(std::size_t n) { state_->output.consume(n); }

Result<std::size_t> TlsSession::read(MutableBytes plain) {
  State& s = *state_;
  if (s.failure) return *s.failure;
  if (!s.handshake_done || s.peer_closed || plain.empty()) return std::size_t{0};
  if (s.output.size() >= kOutputBytesMax) return std::size_t{0};
  const int room = static_cast<int>(std::min(plain.size(), kRecordBytesMax));
  const int n = wolfSSL_read(s.ssl(), plain.data(), room);
  if (n > 0) return static_cast<std::size_t>(n);
  const int code = wolfSSL_get_error(s.ssl(), n);
  if (code == WOLFSSL_ERROR_ZERO_RETURN) {
    s.peer_closed = true;
    s.input.clear();
    return std::size_t{0};
  }
  if (code != WOLFSSL_ERROR_WANT_READ) return s.fail(tls_error(s.tls, code));
  if (!s.input_ended) return std::size_t{0};
  return s.fail(Error{ECONNABORTED, "the connection was cut: it ended without a TLS close_notify"});
}

Result<std::size_t> TlsSession::write(Bytes plain) {
  State& s = *state_;
  if (s.failure) return *s.failure;
  if (s.close_sent) return Error{EPIPE, "TLS: written after close_notify"};
  if (!s.handshake_done) return std::size_t{0};
  std::size_t taken = 0;
  while (taken < plain.size()) {
    const std::size_t used = s.output.size() + kRecordOverheadMax;
    if (used >= kOutputBytesMax) break;
    const std::size_t left = plain.size() - taken;
    const std::size_t record = std::min({left, kRecordBytesMax, kOutputBytesMax - used});
    if (record < left && record < kRecordBytesMin) break;
    const int n = wolfSSL_write(s.ssl(), plain.data() + taken, static_cast<int>(record));
    if (n <= 0) return s.fail(tls_error(s.tls, wolfSSL_get_error(s.ssl(), n)));
    taken += static_cast<std::size_t>(n);
  }
  return taken;
}

void TlsSession::close_notify() {
  State& s = *state_;
  if (s.failure || s.close_sent) return;
  s.close_sent = true;
  // The library takes the second close_notify of a connection as the order to reset the whole
  // session for another use, which would forget the peer's certificate. So let it forget the first
  // one instead.
  if (s.peer_closed) wolfSSL_set_shutdown(s.ssl(), 0);
  const int result = wolfSSL_shutdown(s.ssl());
  if (result == WOLFSSL_FATAL_ERROR) {
    (void)s.fail(tls_error(s.tls, wolfSSL_get_error(s.ssl(), result)));
  }
}

bool TlsSession::handshake_done() const { return state_->handshake_done; }
bool TlsSession::peer_closed() const { return state_->peer_closed; }
bool TlsSession::truncated() const { return state_->input_ended && !state_->peer_closed; }

std::optional<std::uint8_t> TlsSession::alert_sent() const {
  return crypto::alert_sent(state_->ssl());
}
std::optional<std::uint8_t> TlsSession::alert_received() const {
  return state_->bare_alert ? state_->bare_alert : crypto::alert_received(state_->ssl());
}

std::string TlsSession::alpn() const { return negotiated_alpn(state_->ssl()); }

ByteVector TlsSession::peer_spki_der() const {
  // Before, the peer has not proven that it holds the key.
  if (!state_->handshake_done) return {};
  return crypto::peer_spki_der(state_->ssl());
}

std::string TlsSession::protocol() const { return wolfSSL_get_version(state_->ssl()); }
std::string TlsSession::cipher() const { return wolfSSL_get_cipher(state_->ssl()); }

Result<ByteVector> TlsSession::export_keying_material(std::string_view label, Bytes context,
                                                      std::size_t length) const {
  if (!state_->handshake_done) return Error{EAGAIN, "no keying material before the handshake"};
  return crypto::export_keying_material(state_->ssl(), label, context, length);
}

void TlsSession::forget_keying_material() {
  CHECK(state_->handshake_done);
  wolfSSL_FreeArrays(state_->ssl());
}

WOLFSSL* TlsSession::native() const { return state_->ssl(); }

}  // namespace adit::crypto
