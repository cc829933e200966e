// A QUIC connection joined to the loop as a carrier: its timer, its sending, its events. The socket
// belongs to someone else (the relay's one UDP port, or the agent's own per link).
#pragma once

#include <memory>
#include <optional>

#include "base/byte_ring.h"
#include "flow/carrier.h"
#include "io/loop.h"
#include "proto/quic/connection.h"

namespace adit::flow {

// Sends for a link; one per UDP socket.
class DatagramPort {
 public:
  // Bytes taken, 0: full; on_port_writable() of the waiting links follows.
  virtual Result<std::size_t> send(const quic::Outgoing& batch) = 0;
  virtual void wait_writable(class QuicLink& link) = 0;

 protected:
  ~DatagramPort() = default;
};

class QuicLink final : public Carrier, public ListNode<QuicLink> {
 public:
  // `control_opener`: this end opens the control channel (the agent) once the handshake is done.
  // `after_feed`: called after the connection may have changed its ids, `gone`: when the link dies
  // (both for the endpoint's map).
  QuicLink(io::Loop& loop, DatagramPort& port, std::unique_ptr<quic::Connection> connection,
           bool control_opener, Delegate<void(QuicLink&)> after_feed = {},
           Delegate<void(QuicLink&)> gone = {});
  ~QuicLink() override;

  // Datagrams of one receive completion; `segment_bytes` as there. Output is flushed at the end of
  // the turn.
  void feed(const quic::Path& path, std::uint8_t ecn, Bytes bytes, std::size_t segment_bytes);
  // The socket is another now (the agent's address changed): probes and moves to the new path.
  Status migrate(DatagramPort& port, const quic::Path& path);
  void on_port_writable() { loop_.run_later(flush_); }
  quic::Connection& connection() { return *connection_; }
  const quic::Connection& connection() const { return *connection_; }

  Status send_control(Bytes bytes) override;
  Result<CarrierStream> open_stream() override;
  void attach(CarrierStream id, StreamSource* source) override;
  void detach(CarrierStream id) override { connection_->detach(id); }
  void wake(CarrierStream id) override;
  Bytes readable(CarrierStream id) const override { return connection_->readable(id); }
  void consume(CarrierStream id, std::size_t n) override;
  bool at_end(CarrierStream id) const override { return connection_->at_end(id); }
  void reset(CarrierStream id, std::uint64_t code) override;
  std::size_t datagram_bytes_max() const override { return connection_->datagram_bytes_max(); }
  void set_datagram_source(DatagramSource* source) override { datagrams_ = source; }
  void wake_datagrams() override { loop_.run_later(flush_); }
  ByteVector peer_spki_der() const override { return connection_->peer_spki_der(); }
  Result<ByteVector> export_keying_material(std::string_view label, std::size_t n) const override {
    return connection_->export_keying_material(label, {}, n);
  }
  void forget_handshake(std::string_view, std::size_t) override {
    connection_->forget_handshake();
  }
  CarrierStats stats() const override;
  void close(std::uint64_t code, std::string_view reason) override;

 private:
  // The control channel's sending side; bytes are kept until the peer's QUIC has them.
  class ControlSource final : public StreamSource {
   public:
    ByteRing ring;
    Bytes peek(std::uint64_t offset) const override { return ring.peek(offset); }
    bool ends_at(std::uint64_t) const override { return false; }
    void acked(std::uint64_t offset) override { ring.release(offset); }
  };

  void on_timer();
  void flush();
  void take_datagrams();
  bool send_all();  // true: more could be sent, but others should run first
  void dispatch();
  void handle(const quic::HandshakeDone&);
  void handle(const quic::StreamOpened& e);
  void handle(const quic::StreamReadable& e);
  void handle(const quic::StreamReset& e);
  void handle(const quic::StreamStopped& e);
  void handle(const quic::StreamClosed& e);
  void handle(const quic::DatagramReceived& e) { listener_->on_datagram(e.bytes); }
  void handle(const quic::PathChanged& e);
  void handle(const quic::Closed& e);
  void read_control();

  io::Loop& loop_;
  DatagramPort* port_;
  std::unique_ptr<quic::Connection> connection_;
  const bool control_opener_;
  Delegate<void(QuicLink&)> after_feed_;
  Delegate<void(QuicLink&)> gone_;
  io::Timer timer_;
  io::Task flush_;
  ControlSource control_out_;
  std::optional<quic::QuicStream> control_;
  ByteVector unsent_;           // a batch that the socket refused
  quic::Outgoing unsent_batch_;
  DatagramSource* datagrams_ = nullptr;
  bool had_turn_ = false;       // and has more to send: goes on in the next turn of the loop
  bool down_ = false;           // on_down was said
  bool* destroyed_ = nullptr;
};

}  // namespace adit::flow
