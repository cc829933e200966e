// Several HTTP/2 connections as one carrier, so that a lost packet of one does not hold up the
// streams of the others. The first carries the control channel; the others join when they have
// proven that they belong to it. New streams go where the fewest are.
//
// A connection that dies idle just leaves. One that dies with streams takes the whole carrier down:
// where its streams stand is found out by the session's resumption, which moves all of them to a
// new carrier without losing a byte.
#pragma once

#include <array>
#include <memory>
#include <map>

#include "base/limits.h"
#include "flow/carrier.h"
#include "flow/h2_link.h"

namespace adit::flow {

class H2Pool final : public Carrier {
 public:
  explicit H2Pool(std::unique_ptr<H2Link> first);
  ~H2Pool() override;

  std::size_t connections() const;
  bool has_streams() const;

  std::unique_ptr<H2Link> release_connection() override;
  bool add_connection(std::unique_ptr<H2Link> link) override;
  std::size_t close_spare_connections() override;

  Status send_control(Bytes bytes) override { return first().send_control(bytes); }
  Result<CarrierStream> open_stream() override;
  void attach(CarrierStream id, StreamSource* source) override;
  void detach(CarrierStream id) override;
  void wake(CarrierStream id) override;
  Bytes readable(CarrierStream id) const override;
  void consume(CarrierStream id, std::size_t n) override;
  bool at_end(CarrierStream id) const override;
  void reset(CarrierStream id, std::uint64_t code) override;

  // Of the first connection.
  ByteVector peer_spki_der() const override { return first().peer_spki_der(); }
  Result<ByteVector> export_keying_material(std::string_view label, std::size_t n) const override {
    return first().export_keying_material(label, n);
  }
  void forget_handshake(std::string_view label, std::size_t n) override {
    first().forget_handshake(label, n);
  }
  CarrierStats stats() const override;
  Instant unanswered_since() const { return first().unanswered_since(); }
  void close(std::uint64_t code, std::string_view reason) override;

 private:
  // A place in the pool; its index is in the carrier's stream ids.
  class Place final : public CarrierListener {
   public:
    void on_up() override { pool->listener_->on_up(); }
    void on_control(Bytes bytes) override;
    void on_stream_opened(CarrierStream id) override;
    void on_stream_readable(CarrierStream id) override;
    void on_stream_reset(CarrierStream id, std::uint64_t code) override;
    void on_stream_closed(CarrierStream id) override;
    void on_path_changed(const Address& peer) override { pool->listener_->on_path_changed(peer); }
    void on_down(const CarrierDown& down) override { pool->on_down(*this, down); }

    H2Pool* pool = nullptr;
    std::size_t index = 0;
    std::unique_ptr<H2Link> link;
    // Its streams, by its own ids, until all that they brought is taken; true: closed.
    std::map<CarrierStream, bool> open;
    bool spent = false;  // it went with streams, whose ids are not to be used again
  };
  static constexpr std::size_t kPlaces = limits::kLinkConnectionsMax;

  static CarrierStream outer(const Place& place, CarrierStream id) {
    return id * static_cast<CarrierStream>(kPlaces) + static_cast<CarrierStream>(place.index);
  }
  static CarrierStream inner(CarrierStream id) { return id / static_cast<CarrierStream>(kPlaces); }
  // Null: the connection has left, and its streams with it.
  H2Link* link_of(CarrierStream id) const;
  Place& place_of(CarrierStream id);
  H2Link& first() { return *places_[0].link; }
  const H2Link& first() const { return *places_[0].link; }
  void on_down(Place& place, const CarrierDown& down);

  std::array<Place, kPlaces> places_;
  bool closing_ = false;
};

}  // namespace adit::flow
