// For tests: two connections over a link in memory that delays, loses, repeats, reorders and breaks
// datagrams, under a virtual clock. Repeats from its seed (but for TLS's own random numbers).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_ring.h"
#include "base/prng.h"
#include "crypto/tls_context.h"
#include "proto/quic/connection.h"

namespace adit::quic {

// What a stream sends: a pseudo-random sequence of `total` bytes, made as it is asked for, kept
// until acknowledged; at most kAhead ahead of the acknowledgements.
class TestSource final : public StreamSource {
 public:
  static constexpr std::uint64_t kAhead = 1 << 20;
  explicit TestSource(std::uint64_t seed, std::uint64_t total, bool ends = true)
      : prng_(seed), total_(total), ends_(ends) {
    fill();
  }
  Bytes peek(std::uint64_t offset) const override { return ring_.peek(offset); }
  bool ends_at(std::uint64_t offset) const override { return ends_ && offset == total_; }
  void acked(std::uint64_t offset) override {
    acked_ = offset;
    ring_.release(offset);
    fill();
  }
  std::uint64_t acked_bytes() const { return acked_; }
  std::uint64_t made() const { return ring_.end(); }

 private:
  void fill();
  Prng prng_;
  std::uint64_t total_, acked_ = 0;
  bool ends_;
  ByteRing ring_;
};

// Compares what arrives with what a TestSource of the same seed sends.
class TestSink {
 public:
  explicit TestSink(std::uint64_t seed) : prng_(seed) {}
  void take(Bytes in);
  std::uint64_t bytes = 0;
  bool same = true;

 private:
  Prng prng_;
};

struct Contexts {
  crypto::TlsContext server, client;
  ByteVector server_spki, client_spki;
};
Contexts make_contexts(const std::vector<std::string>& server_alpn = {"adit/1"},
                       const std::vector<std::string>& client_alpn = {"adit/1"});
const Contexts& contexts();  // made once, for tests that change nothing about them

Settings test_settings(std::uint64_t seed = 7);
std::array<std::uint8_t, 32> test_secret();
Path client_path(std::uint16_t port = 50000);
Path swapped(const Path& p);

struct LinkFaults {
  Duration delay = 10ms;
  double loss = 0, duplicate = 0, reorder = 0, corrupt = 0;
  std::size_t bytes_max = 65535;  // longer datagrams vanish, as with a narrow path
};

struct End {
  std::unique_ptr<Connection> connection;
  std::vector<Event> events;              // all that came
  std::vector<std::size_t> datagram_sizes;  // all that were sent
  std::size_t batches = 0;                  // results of drain()
  std::function<void(const Event&)> on_event;

  template <class E>
  const E* first() const {
    for (const Event& e : events)
      if (const E* found = std::get_if<E>(&e)) return found;
    return nullptr;
  }
  template <class E>
  std::size_t count() const {
    std::size_t n = 0;
    for (const Event& e : events) n += std::holds_alternative<E>(e) ? 1 : 0;
    return n;
  }
};

class TestLink {
 public:
  explicit TestLink(std::uint64_t seed, LinkFaults link_faults = {},
                    const Contexts& tls = contexts());
  // The client's first flight creates the server.
  void start(const Settings& client_settings = test_settings(7),
             const Settings& server_settings = test_settings(8));
  bool handshake();
  // Runs until `done`, or `limit` of virtual time has passed (false).
  bool run(const std::function<bool()>& done, Duration limit = 60s);
  void run_for(Duration d) {
    run([] { return false; }, d);
  }
  // Streams from `from` to the other end, checked there; true when all arrived and was
  // acknowledged.
  bool transfer(std::uint64_t bytes_up, std::uint64_t bytes_down, Duration limit = 300s);

  Instant now{1'000'000'000};
  LinkFaults faults;
  End client, server;
  // Rewrites the client's address on its way to the server and back (a NAT).
  std::uint16_t nat_port = 0;
  std::function<void(End& to, ByteVector& datagram)> tamper;
  Settings settings_of_server = test_settings(8);
  // Instead of Connection::accept(), for a server that is not what it should be.
  std::function<std::unique_ptr<Connection>(Bytes initial, const Path&)> make_server;
  bool cut = false;  // nothing arrives any more

 private:
  struct Packet {
    End* to;
    Path path;  // as the receiver sees it
    std::uint8_t ecn;
    ByteVector bytes;
  };
  void flush(End& from);
  void post(End& from, const Outgoing& out, Bytes datagram);
  void deliver(const Packet& p);
  void pass_events(End& end);
  Instant next() const;

  const Contexts& tls_;
  Prng prng_;
  std::multimap<Instant, Packet> on_the_way_;
  ByteVector buffer_ = ByteVector(65536);
};

}  // namespace adit::quic
