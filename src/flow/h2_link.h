// An HTTP/2 connection over TLS as a carrier. The agent has opened the TCP connection and is the
// TLS client; the relay is the HTTP/2 client, which opens the control channel and a stream for each
// visitor.
#pragma once

#include <memory>
#include <optional>

#include "base/byte_ring.h"
#include "flow/carrier.h"
#include "flow/tls_stream.h"
#include "io/loop.h"
#include "proto/h2/connection.h"

namespace adit::flow {

inline constexpr std::string_view kH2LinkAlpn = "adit-h2/1";

class H2Link final : public Carrier, private DuplexListener {
 public:
  // `name` (of the carrier, for good) and `peer`: for people. `authority`: of the requests
  // (Role::Client).
  H2Link(io::Loop& loop, std::unique_ptr<TlsStream> stream, std::string_view name,
         const Address& peer, h2::Connection::Role role, const h2::Settings& settings,
         std::string_view authority);
  ~H2Link() override;

  Status send_control(Bytes bytes) override;
  Result<CarrierStream> open_stream() override;
  void attach(CarrierStream id, StreamSource* source) override;
  void detach(CarrierStream id) override;
  void wake(CarrierStream id) override;
  Bytes readable(CarrierStream id) const override { return engine_.readable(id); }
  void consume(CarrierStream id, std::size_t n) override;
  bool at_end(CarrierStream id) const override { return engine_.at_end(id); }
  void reset(CarrierStream id, std::uint64_t code) override;
  ByteVector peer_spki_der() const override { return stream_->session().peer_spki_der(); }
  Result<ByteVector> export_keying_material(std::string_view label, std::size_t n) const override {
    if (kept_label_ == label && kept_.size() == n) return kept_;
    return stream_->session().export_keying_material(label, {}, n);
  }
  void forget_handshake(std::string_view label, std::size_t n) override;
  CarrierStats stats() const override;
  // Since when it waits for a sign of the peer; never(): it does not.
  Instant unanswered_since() const { return engine_.unanswered_since(); }
  void close(std::uint64_t code, std::string_view reason) override;

 private:
  class ControlSource final : public StreamSource {
   public:
    ByteRing ring;
    Bytes peek(std::uint64_t offset) const override { return ring.peek(offset); }
    bool ends_at(std::uint64_t) const override { return false; }
    void acked(std::uint64_t offset) override { ring.release(offset); }
  };
  // Handshake -> Up -> Leaving: our goodbye is on its way, and the peer's end is waited for, so
  // that unread bytes of its do not make the kernel answer with a reset, which would overtake the
  // goodbye.
  enum class State : std::uint8_t { Handshake, Up, Leaving, Down };

  void on_readable() override;
  void on_writable() override;
  void on_failed(const Error& error) override;
  void on_timer();
  void flush();
  bool send_all();
  bool write_rest();
  void set_timer();
  bool handshake_done();
  void dispatch(const Witness& witness);
  void handle(const h2::StreamOpened& e);
  void handle(const h2::StreamReadable& e);
  void handle(const h2::StreamReset& e);
  void handle(const h2::StreamClosed& e);
  void handle(const h2::Closed& e);
  void read_control(const Witness& witness);
  void go_down();

  io::Loop& loop_;
  std::unique_ptr<TlsStream> stream_;
  const std::string_view name_;
  const Address peer_;
  const h2::Connection::Role role_;
  h2::Connection engine_;
  State state_ = State::Handshake;
  CarrierDown down_;            // what on_down will say
  Instant leave_at_ = Instant::never();
  io::Timer timer_;
  io::Task flush_;
  ControlSource control_out_;
  std::string kept_label_;  // after forget_handshake()
  ByteVector kept_;
  std::optional<h2::StreamId> control_;
  ByteVector rest_;             // drained and not taken by TLS
  std::size_t rest_at_ = 0;
  bool had_turn_ = false;       // and has more to send: goes on in the next turn of the loop
  std::uint64_t bytes_sent_ = 0, bytes_received_ = 0;
  Witness* witness_ = nullptr;
};

}  // namespace adit::flow
