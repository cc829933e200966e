// Two carriers joined in memory, for tests of what stands above: every stream at its own pace,
// bytes in order within it, flow control, a limit of streams, cuts. It holds its user to the
// contract of flow::Carrier: what a source has shown is looked at again until it is acknowledged,
// and a stream's end is known only until the stream is forgotten.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "base/prng.h"
#include "flow/carrier.h"
#include "io/loop.h"

namespace adit::sim {

struct FakeLinkOptions {
  Duration delay_max = 20ms;
  std::uint64_t window_bytes = 4096;  // of a stream, each way
  std::size_t streams_max = 64;       // that the opener may have open
  std::size_t segment_bytes_max = 1200;
  std::size_t control_chunk_max = 64;
};

class FakeWire;

class FakeCarrier final : public flow::Carrier {
 public:
  FakeCarrier(FakeWire& wire, int side, io::Loop& loop);
  ~FakeCarrier() override;

  // The other end is gone, silently: on_down comes at `at`, and nothing else from now on.
  void lose(Instant at);
  bool closed() const { return closed_; }

  Status send_control(Bytes bytes) override;
  Result<flow::CarrierStream> open_stream() override;
  void attach(flow::CarrierStream id, flow::StreamSource* source) override;
  void detach(flow::CarrierStream id) override;
  void wake(flow::CarrierStream id) override;
  Bytes readable(flow::CarrierStream id) const override;
  void consume(flow::CarrierStream id, std::size_t n) override;
  bool at_end(flow::CarrierStream id) const override;
  void reset(flow::CarrierStream id, std::uint64_t code) override;
  ByteVector peer_spki_der() const override { return {}; }
  Result<ByteVector> export_keying_material(std::string_view, std::size_t n) const override {
    return ByteVector(n);
  }
  flow::CarrierStats stats() const override { return {"fake", {}, {}, 0, 0, 0}; }
  void close(std::uint64_t code, std::string_view reason) override;

 private:
  friend class FakeWire;
  enum class Kind : std::uint8_t { Up, Control, Data, Acked, Window, Reset, Credit, Down };
  struct Event {
    Kind kind;
    flow::CarrierStream stream = 0;
    std::uint64_t number = 0;  // offset, credit or code
    bool flag = false;         // FIN; of Reset: an answer; of Down: by the peer
    ByteVector bytes{};
  };
  struct Segment {
    std::uint64_t offset;
    const std::uint8_t* at;
    ByteVector copy;
  };
  struct Stream {
    flow::StreamSource* source = nullptr;
    std::uint64_t sent = 0, window = 0;
    std::vector<Segment> in_flight;
    bool fin_sent = false, fin_acked = false;
    ByteVector received;
    std::uint64_t consumed = 0;
    bool fin_received = false, reset_by_peer = false, reset_by_us = false;
    bool send_shut = false, closed = false;
  };

  void send(Event event);
  void flush();
  void send_some(flow::CarrierStream id, Stream& s);
  void check(const Segment& segment) const;
  void on_timer();
  void arm();
  void handle(Event& event);
  void handle_data(Event& event);
  void handle_acked(Event& event);
  void handle_reset(Event& event);
  void close_if_done(flow::CarrierStream id);
  void collect();
  Stream* find(flow::CarrierStream id);
  const Stream* find(flow::CarrierStream id) const;
  Stream& of_peer(flow::CarrierStream id);
  void forget_sources();
  Prng& prng();

  FakeWire& wire_;
  const int side_;
  io::Loop& loop_;
  std::multimap<Instant, Event> inbox_;
  std::map<flow::CarrierStream, Stream> streams_;
  std::set<flow::CarrierStream> forgotten_;
  flow::CarrierStream next_id_ = 1;
  std::size_t open_ = 0;  // opened by us, and not given back by the peer
  bool closed_ = false, down_ = false;
  bool* destroyed_ = nullptr;
  io::Timer timer_;
  io::Task flush_;
};

// What is between two carriers, and outlives both; each of them may go before the other. Side 0
// opens streams. on_up follows on each side that has been made.
class FakeWire {
 public:
  FakeWire(Prng& prng, const FakeLinkOptions& options) : prng_(prng), options_(options) {}

  // Nothing passes any more, both ways; nobody is told.
  void cut();

 private:
  friend class FakeCarrier;
  void deliver(int to, FakeCarrier::Event event);

  Prng& prng_;
  const FakeLinkOptions options_;
  FakeCarrier* end_[2] = {nullptr, nullptr};
  bool cut_ = false;
  // Order is kept within one of these: side, kind, stream.
  std::map<std::tuple<int, FakeCarrier::Kind, flow::CarrierStream>, Instant> last_;
};

}  // namespace adit::sim
