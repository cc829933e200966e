// What carries a session: one authenticated, encrypted connection between agent and relay with a
// control channel and streams. QUIC here; HTTP/2 and WebSocket have the same face.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "proto/stream_source.h"

namespace adit::flow {

class H2Link;

using CarrierStream = std::int64_t;
using StreamSource = adit::StreamSource;

struct CarrierDown {
  std::uint64_t code = 0;   // application code (link::CloseCode), or the carrier's own
  bool application = false;
  bool by_peer = false;
  bool timeout = false;
  std::string reason;
};

// Events in the order in which they happened; called at the carrier's own time, never from inside a
// call into it. After on_down nothing follows, and the listener may destroy the carrier in it.
class CarrierListener {
 public:
  virtual void on_up() = 0;                    // handshake done: the peer's key is known
  virtual void on_control(Bytes bytes) = 0;    // of the control channel, in order
  virtual void on_stream_opened(CarrierStream id) = 0;   // by the peer; not the control channel
  virtual void on_stream_readable(CarrierStream id) = 0;
  virtual void on_stream_reset(CarrierStream id, std::uint64_t code) = 0;
  // Both directions are over and acknowledged: the source is not read any more.
  virtual void on_stream_closed(CarrierStream id) = 0;
  // From the peer, perhaps late, twice, or out of order (RFC 9221).
  virtual void on_datagram(Bytes) {}
  virtual void on_path_changed(const Address& peer) = 0;
  virtual void on_down(const CarrierDown& down) = 0;

 protected:
  ~CarrierListener() = default;
};

// What waits to be sent in datagrams; asked when there is room, so that what gets too old while it
// waits can still give way.
class DatagramSource {
 public:
  // The next one, of `bytes_max` at most; it is sent now or never. Empty: none waits.
  virtual ByteVector next_datagram(std::size_t bytes_max) = 0;

 protected:
  ~DatagramSource() = default;
};

struct CarrierStats {
  std::string_view name;  // "quic"
  Address peer;
  Duration rtt{};
  std::uint64_t bytes_sent = 0, bytes_received = 0, packets_lost = 0;
  // Congestion control let less go than there was; false where the kernel decides it.
  bool held_up = false;
};

class Carrier {
 public:
  virtual ~Carrier() = default;
  void set_listener(CarrierListener* listener) { listener_ = listener; }

  // Queues bytes on the control channel. ENOBUFS when the peer does not take them (the bound is
  // kControlQueueBytesMax): the link is beyond help then and the caller closes it.
  virtual Status send_control(Bytes bytes) = 0;
  // EAGAIN: the peer's limit of streams is reached.
  virtual Result<CarrierStream> open_stream() = 0;
  // See quic::Connection for these.
  virtual void attach(CarrierStream id, StreamSource* source) = 0;
  virtual void detach(CarrierStream id) = 0;
  virtual void wake(CarrierStream id) = 0;
  virtual Bytes readable(CarrierStream id) const = 0;
  virtual void consume(CarrierStream id, std::size_t n) = 0;
  virtual bool at_end(CarrierStream id) const = 0;
  // Both directions of the stream end with `code`.
  virtual void reset(CarrierStream id, std::uint64_t code) = 0;

  // Datagrams, where the carrier has them: 0 where it has none, and never asks the source. It may
  // change with the path. `source` is asked until it is null.
  virtual std::size_t datagram_bytes_max() const { return 0; }
  virtual void set_datagram_source(DatagramSource*) {}
  virtual void wake_datagrams() {}

  virtual ByteVector peer_spki_der() const = 0;
  virtual Result<ByteVector> export_keying_material(std::string_view label,
                                                    std::size_t n) const = 0;
  // Called once the link is live: what only the handshake and the two above needed may go. What
  // they still answer, where connections may be added to the carrier: the peer's key, and the
  // export of `n` bytes for `label`.
  virtual void forget_handshake(std::string_view label, std::size_t n) {
    static_cast<void>(label), static_cast<void>(n);
  }
  virtual CarrierStats stats() const = 0;
  // Says goodbye; on_down follows.
  virtual void close(std::uint64_t code, std::string_view reason) = 0;

  // Of carriers that are made of connections: gives up its only one, and is to be destroyed then.
  virtual std::unique_ptr<H2Link> release_connection();
  // Takes one more; false: it takes none, or no more.
  virtual bool add_connection(std::unique_ptr<H2Link> link);
  // Closes those beyond the first on which there are no streams; how many are left beyond it.
  virtual std::size_t close_spare_connections() { return 0; }

  static constexpr std::size_t kControlQueueBytesMax = 256 * 1024;

 protected:
  CarrierListener* listener_ = nullptr;
};

}  // namespace adit::flow
