#include <gtest/gtest.h>

#include "crypto/certificate.h"
#include "crypto/key.h"
#include "proto/quic/test_link.h"

namespace adit::quic {

void TestSource::fill() {
  const std::uint64_t until = std::min(total_, acked_ + kAhead);
  while (ring_.end() < until) {
    ByteVector some(std::min<std::uint64_t>(until - ring_.end(), 1000));
    for (auto& b : some) b = static_cast<std::uint8_t>(prng_.next());
    ring_.append(some);
  }
}

void TestSink::take(Bytes in) {
  for (std::uint8_t b : in) same &= b == static_cast<std::uint8_t>(prng_.next());
  bytes += in.size();
}

Contexts make_contexts(const std::vector<std::string>& server_alpn,
                       const std::vector<std::string>& client_alpn) {
  const WallTime from{1'700'000'000'000'000'000};
  const auto key_s = crypto::PrivateKey::generate();
  const auto key_c = crypto::PrivateKey::generate();
  auto cert_s = crypto::self_signed(key_s, {"relay.test"}, from, 24h * 36500);
  auto cert_c = crypto::self_signed(key_c, {"agent.test"}, from, 24h * 36500);
  CHECK(cert_s);
  CHECK(cert_c);
  auto server = crypto::TlsContext::server({.certificate_chain_pem = *cert_s,
                                            .private_key_pem = key_s.to_pkcs8_pem(),
                                            .alpn = server_alpn,
                                            .request_client_certificate = true,
                                            .tls13_only = true});
  auto client = crypto::TlsContext::client({.certificate_chain_pem = *cert_c,
                                            .private_key_pem = key_c.to_pkcs8_pem(),
                                            .alpn = client_alpn,
                                            .verify = crypto::Verify::Callback,
                                            .roots_pem_file = {},
                                            .tls13_only = true});
  CHECK(server);
  CHECK(client);
  return {std::move(*server), std::move(*client), key_s.public_key_spki_der(),
          key_c.public_key_spki_der()};
}

const Contexts& contexts() {
  static const Contexts made = make_contexts();
  return made;
}

std::array<std::uint8_t, 32> test_secret() {
  std::array<std::uint8_t, 32> secret;
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::uint8_t>(i + 1);
  return secret;
}

Settings test_settings(std::uint64_t seed) {
  return {.idle_timeout = 15s,
          .keep_alive = 5s,
          .handshake_deadline = 10s,
          .streams_bidi_max = 64,
          .stream_window_bytes = 1 << 20,
          .connection_window_bytes = 4 << 20,
          .datagrams = true,
          .random_seed = seed,
          .initial_id_first_byte = {},
          .reset_secret = test_secret()};
}

Path client_path(std::uint16_t port) {
  return {{IpAddress::v4(192, 0, 2, 1), port}, {IpAddress::v4(198, 51, 100, 1), 443}};
}

Path swapped(const Path& p) { return {p.peer, p.local}; }

TestLink::TestLink(std::uint64_t seed, LinkFaults link_faults, const Contexts& tls)
    : faults(link_faults), tls_(tls), prng_(seed) {}

void TestLink::start(const Settings& client_settings, const Settings& server_settings) {
  settings_of_server = server_settings;
  auto made = Connection::connect(tls_.client, "relay.test", client_path(), client_settings, now);
  CHECK(made);
  client.connection = std::move(*made);
}

bool TestLink::handshake() {
  if (client.connection == nullptr) start();
  return run([this] {
    return client.connection->handshake_done() && server.connection != nullptr &&
           server.connection->handshake_done();
  }, 20s);
}

void TestLink::flush(End& from) {
  if (from.connection == nullptr) return;
  for (int i = 0; i < 1000; ++i) {
    const Outgoing out = from.connection->drain(buffer_, now);
    if (out.bytes.empty()) return;
    CHECK(out.segment_bytes > 0);
    ++from.batches;
    for (std::size_t at = 0; at < out.bytes.size(); at += out.segment_bytes)
      post(from, out, out.bytes.subspan(at, std::min(out.segment_bytes, out.bytes.size() - at)));
  }
  ADD_FAILURE() << "a connection that never stops sending at one point in time";
}

void TestLink::post(End& from, const Outgoing& out, Bytes datagram) {
  from.datagram_sizes.push_back(datagram.size());
  if (cut || datagram.size() > faults.bytes_max || prng_.chance(faults.loss)) return;
  const int copies = prng_.chance(faults.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    Packet p{&from == &client ? &server : &client, swapped(out.path), out.ecn,
             ByteVector(datagram.begin(), datagram.end())};
    if (nat_port != 0 && &from == &client) p.path.peer.port = nat_port;
    if (nat_port != 0 && &from == &server) {
      if (out.path.peer.port != nat_port) return;  // the old mapping is gone
      p.path.local.port = client.connection->path().local.port;
    }
    if (prng_.chance(faults.corrupt))
      p.bytes[prng_.below(p.bytes.size())] ^= static_cast<std::uint8_t>(1 + prng_.below(255));
    if (tamper) tamper(*p.to, p.bytes);
    const Duration extra = prng_.chance(faults.reorder)
                               ? Duration(static_cast<std::int64_t>(prng_.below(30'000'000)))
                               : Duration(0);
    on_the_way_.emplace(now + faults.delay + extra, std::move(p));
  }
}

void TestLink::deliver(const Packet& p) {
  if (p.to == &server && server.connection == nullptr) {
    if (make_server) {
      server.connection = make_server(p.bytes, p.path);
    } else if (auto made = Connection::accept(tls_.server, p.bytes, p.path, settings_of_server, 0,
                                              now)) {
      server.connection = std::move(*made);
    }
    if (server.connection == nullptr) return;
  }
  p.to->connection->feed(p.path, p.ecn, p.bytes, now);
}

void TestLink::pass_events(End& end) {
  if (end.connection == nullptr) return;
  for (Event& e : end.connection->take_events()) {
    if (end.on_event) end.on_event(e);
    end.events.push_back(std::move(e));
  }
}

Instant TestLink::next() const {
  Instant at = on_the_way_.empty() ? Instant::never() : on_the_way_.begin()->first;
  for (const End* e : {&client, &server})
    if (e->connection != nullptr) at = std::min(at, e->connection->next_deadline());
  return at;
}

bool TestLink::run(const std::function<bool()>& done, Duration limit) {
  const Instant until = now + limit;
  for (;;) {
    pass_events(client);
    pass_events(server);
    flush(client);
    flush(server);
    if (done()) return true;
    const Instant at = std::max(now, next());
    if (at > until) {
      now = until;
      return false;
    }
    now = at;
    while (!on_the_way_.empty() && on_the_way_.begin()->first <= now) {
      const Packet p = std::move(on_the_way_.begin()->second);
      on_the_way_.erase(on_the_way_.begin());
      deliver(p);
    }
    client.connection->on_deadline(now);
    if (server.connection != nullptr) server.connection->on_deadline(now);
  }
}

bool TestLink::transfer(std::uint64_t bytes_up, std::uint64_t bytes_down, Duration limit) {
  TestSource up(1, bytes_up), down(2, bytes_down);
  TestSink at_server(1), at_client(2);
  auto id = client.connection->open_stream();
  if (!id) return false;
  bool ended[2] = {false, false};
  auto handler = [&](End& end, TestSink& sink, bool& end_seen) {
    return [&](const Event& e) {
      if (auto* opened = std::get_if<StreamOpened>(&e)) end.connection->attach(opened->id, &down);
      auto* readable = std::get_if<StreamReadable>(&e);
      if (readable == nullptr) return;
      for (;;) {
        const Bytes in = end.connection->readable(readable->id);
        if (in.empty()) break;
        sink.take(in);
        end.connection->consume(readable->id, in.size());
      }
      end_seen |= end.connection->at_end(readable->id);
      end.connection->wake(readable->id);
    };
  };
  client.on_event = handler(client, at_client, ended[0]);
  server.on_event = handler(server, at_server, ended[1]);
  client.connection->attach(*id, &up);
  const bool done = run([&] {
    // A source that makes more on acknowledgement has to say so.
    client.connection->wake(*id);
    if (server.connection) server.connection->wake(*id);
    return client.count<StreamClosed>() + server.count<StreamClosed>() == 2;
  }, limit);
  client.on_event = server.on_event = nullptr;
  return done && ended[0] && ended[1] && at_server.same && at_client.same &&
         at_server.bytes == bytes_up && at_client.bytes == bytes_down &&
         up.acked_bytes() == bytes_up && down.acked_bytes() == bytes_down;
}

}  // namespace adit::quic
