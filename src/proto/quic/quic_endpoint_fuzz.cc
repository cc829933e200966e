// Two ways in. Even first byte: the rest is datagrams (length, 2 bytes; bytes) for an endpoint that
// accepts. Odd: a hostile peer behind a finished handshake, who puts the input's bytes where frames
// belong, while the owner uses the victim's streams; bit 1 says whether the server or the client is
// the victim. With bit 2 the peer is hostile from the first packet on: it sends what it should, but
// for some changed bytes.
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "crypto/certificate.h"
#include "crypto/key.h"
#include "proto/quic/endpoint.h"
#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

using Impl = Connection::Impl;

constexpr Instant kStart{1'000'000'000};
const Path kAtClient{{IpAddress::v4(192, 0, 2, 1), 50000}, {IpAddress::v4(198, 51, 100, 1), 443}};
const Path kAtServer{kAtClient.peer, kAtClient.local};

struct Tls {
  crypto::TlsContext server, client;
};

Tls make_tls() {
  const auto key = crypto::PrivateKey::generate();
  auto cert = crypto::self_signed(key, {"relay.test"}, WallTime{1'700'000'000'000'000'000},
                                  24h * 36500);
  CHECK(cert);
  auto server = crypto::TlsContext::server({.certificate_chain_pem = *cert,
                                            .private_key_pem = key.to_pkcs8_pem(),
                                            .alpn = {"adit/1"},
                                            .request_client_certificate = true,
                                            .tls13_only = true});
  auto client = crypto::TlsContext::client({.certificate_chain_pem = *cert,
                                            .private_key_pem = key.to_pkcs8_pem(),
                                            .alpn = {"adit/1"},
                                            .verify = crypto::Verify::Callback,
                                            .roots_pem_file = {},
                                            .tls13_only = true});
  CHECK(server);
  CHECK(client);
  return {std::move(*server), std::move(*client)};
}

const Tls& tls() {
  static const Tls made = make_tls();
  return made;
}

Settings settings(std::uint64_t seed) {
  Settings s{.idle_timeout = 15s,
             .keep_alive = 5s,
             .handshake_deadline = 10s,
             .streams_bidi_max = 8,
             .stream_window_bytes = 16 << 10,
             .connection_window_bytes = 32 << 10,
             .datagrams = true,
             .random_seed = seed,
             .initial_id_first_byte = {},
             .reset_secret = {}};
  s.reset_secret.fill(7);
  return s;
}

// --- datagrams from nowhere ---

void fuzz_datagrams(Reader in) {
  Endpoint endpoint(0, 2, settings(1).reset_secret);
  std::vector<std::unique_ptr<Connection>> accepted;
  ByteVector buffer(4096);
  Instant now = kStart;
  for (int i = 0; i < 64 && in.left() > 2; ++i) {
    const std::size_t size = std::min<std::size_t>(in.u16(), in.left());
    const bool validate = (size & 1) != 0;
    const Bytes datagram = in.bytes(size);
    Connection* to = nullptr;
    Verdict v = endpoint.sort(kAtServer, datagram, validate, now);
    if (auto* a = std::get_if<Answer>(&v)) CHECK(a->datagram.size() <= 1200);
    if (std::holds_alternative<NewConnection>(v) && accepted.size() < 4) {
      auto made = Connection::accept(tls().server, datagram, kAtServer, settings(2), 0, now);
      if (made) {
        to = made->get();
        endpoint.add(*to);
        accepted.push_back(std::move(*made));
      }
    }
    if (auto* f = std::get_if<ForConnection>(&v)) to = f->connection;
    if (to != nullptr) {
      to->feed(kAtServer, 0, datagram, now);
      endpoint.update(*to);
      to->take_events();
      for (int k = 0; k < 50 && !to->drain(buffer, now).bytes.empty(); ++k) {
      }
    }
    now = now + 7ms;
    for (auto& c : accepted) c->on_deadline(now);
  }
  for (auto& c : accepted) endpoint.remove(*c);
  CHECK(endpoint.size() == 0);
}

// --- a hostile peer ---

// What takes the place of the next packet's frames. The library calls encrypt without user data.
struct Forgery {
  Bytes frames;
  bool armed = false;
  // Changes: packet (1 byte), place in its plaintext (2), number to add (1).
  Bytes changes;
  std::uint8_t packet = 0;
};
Forgery forgery;

void change(MutableBytes plain) {
  Reader in(forgery.changes);
  while (in.left() >= 4) {
    const std::uint8_t packet = in.u8();
    const std::size_t place = in.u16();
    const std::uint8_t add = in.u8();
    if (packet != forgery.packet || plain.empty()) continue;
    std::uint8_t& byte = plain[place % plain.size()];
    byte = static_cast<std::uint8_t>(byte + add);
  }
  if (forgery.packet < 255) ++forgery.packet;
}

int forge(std::uint8_t* out, const ngtcp2_crypto_aead* aead, const ngtcp2_crypto_aead_ctx* context,
          const std::uint8_t* in, std::size_t size, const std::uint8_t* nonce,
          std::size_t nonce_size, const std::uint8_t* header, std::size_t header_size) {
  ByteVector plain(in, in + size);
  change(plain);
  if (forgery.armed && size >= forgery.frames.size()) {
    std::fill(plain.begin(), plain.end(), std::uint8_t{0});  // PADDING behind the forged frames
    std::copy(forgery.frames.begin(), forgery.frames.end(), plain.begin());
    forgery.armed = false;
  }
  return ngtcp2_crypto_encrypt_cb(out, aead, context, plain.data(), size, nonce, nonce_size, header,
                                  header_size);
}

// Zeros without end.
class Zeros final : public StreamSource {
 public:
  Bytes peek(std::uint64_t) const override { return {kBytes.data(), kBytes.size()}; }
  bool ends_at(std::uint64_t) const override { return false; }
  void acked(std::uint64_t) override {}

 private:
  static constexpr std::array<std::uint8_t, 2000> kBytes{};
};

class Duel {
 public:
  explicit Duel(bool server_is_victim) : server_is_victim_(server_is_victim) {
    hostile_ = library_callbacks(!server_is_victim);
    hostile_.encrypt = forge;
  }

  bool handshake() {
    auto client = std::make_unique<Impl>(settings(3), false, std::uint8_t{0});
    if (server_is_victim_) client->callbacks = &hostile_;
    if (!client->start_client(tls().client, "relay.test", kAtClient, now_)) return false;
    client_ = std::make_unique<Connection>(std::move(client));
    for (int i = 0; i < 10; ++i) exchange();
    return server_ != nullptr && client_->handshake_done() && server_->handshake_done();
  }

  void play(Reader in) {
    for (int i = 0; i < 64 && in.left() > 0; ++i) {
      const std::uint8_t op = in.u8();
      if ((op & 0x80) != 0) {
        use(op & 0x7f);
      } else {
        forgery.frames = in.bytes(std::min<std::size_t>(op == 0 ? in.u8() : op, in.left()));
        forgery.armed = true;
        // Makes the library write a packet that is long enough.
        (void)attacker().send_datagram(ByteVector(forgery.frames.size() + 40));
      }
      exchange();
      forgery.armed = false;
    }
    now_ = now_ + 30s;
    for (int i = 0; i < 4; ++i) exchange();
  }

 private:
  Connection& victim() { return server_is_victim_ ? *server_ : *client_; }
  Connection& attacker() { return server_is_victim_ ? *client_ : *server_; }

  // The victim's owner uses it.
  void use(unsigned what) {
    Connection& c = victim();
    const auto id = static_cast<QuicStream>(what >> 3);
    switch (what & 7) {
      case 0: c.reset(id, 1); break;
      case 1: c.stop_sending(id, 2); break;
      case 2: c.detach(id); break;
      case 3:
        if (auto opened = c.open_stream()) c.attach(*opened, &zeros_);
        break;
      case 4: (void)c.send_datagram(ByteVector(what)); break;
      case 5: now_ = now_ + 100ms * (1 + what); break;
      case 6:
        if (id == 15) c.close(3, "enough", now_);
        break;
      default: idle_reader_ = !idle_reader_; break;
    }
  }

  void exchange() {
    now_ = now_ + 3ms;
    pass(*client_, server_.get());
    if (server_ == nullptr) return;
    pass(*server_, client_.get());
    for (Connection* c : {client_.get(), server_.get()}) {
      handle(*c);
      c->on_deadline(now_);
    }
  }

  void pass(Connection& from, Connection* to) {
    for (int i = 0; i < 40; ++i) {
      const Outgoing out = from.drain(buffer_, now_);
      if (out.bytes.empty()) return;
      if (to == nullptr) to = accept(out.bytes);
      if (to == nullptr) return;
      const Path path{out.path.peer, out.path.local};
      for (std::size_t at = 0; at < out.bytes.size(); at += out.segment_bytes)
        to->feed(path, out.ecn,
                 out.bytes.subspan(at, std::min(out.segment_bytes, out.bytes.size() - at)),
                 now_);
    }
  }

  Connection* accept(Bytes initial) {
    auto server = std::make_unique<Impl>(settings(4), true, std::uint8_t{0});
    if (!server_is_victim_) server->callbacks = &hostile_;
    if (!server->start_server(tls().server, initial, kAtServer, now_)) return nullptr;
    server_ = std::make_unique<Connection>(std::move(server));
    return server_.get();
  }

  void handle(Connection& c) {
    const bool closed = c.closed();
    for (const Event& e : c.take_events()) {
      if (const auto* opened = std::get_if<StreamOpened>(&e)) c.attach(opened->id, &zeros_);
      if (const auto* readable = std::get_if<StreamReadable>(&e)) read(c, readable->id);
      // The last event there is.
      if (std::holds_alternative<Closed>(e)) CHECK(closed);
    }
    c.take_id_changes();
  }

  void read(Connection& c, QuicStream id) {
    if (idle_reader_) return;
    for (Bytes in = c.readable(id); !in.empty(); in = c.readable(id))
      c.consume(id, (in.size() + 1) / 2);
    (void)c.at_end(id);
  }

  const bool server_is_victim_;
  ngtcp2_callbacks hostile_;
  Zeros zeros_;
  bool idle_reader_ = false;
  Instant now_ = kStart;
  ByteVector buffer_ = ByteVector(4096);
  std::unique_ptr<Connection> client_, server_;
};

}  // namespace

void fuzz(Bytes input) {
  Reader in(input);
  const std::uint8_t mode = in.u8();
  if ((mode & 1) == 0) return fuzz_datagrams(in);
  Duel duel((mode & 2) == 0);
  forgery = {};
  const bool hostile_early = (mode & 4) != 0;
  if (hostile_early) forgery.changes = in.bytes(std::min<std::size_t>(in.u8() * 4u, in.left()));
  const bool met = duel.handshake();
  CHECK(met || hostile_early);
  if (met) duel.play(in);
}

}  // namespace adit::quic

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  adit::quic::fuzz({data, size});
  return 0;
}
