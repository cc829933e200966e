// One stream of a session: both halves, the carrier's stream that moves them at the moment, and
// the end that a pump holds.
#pragma once

#include <memory>
#include <optional>

#include "flow/carrier.h"
#include "flow/duplex.h"
#include "io/loop.h"
#include "proto/link/frames.h"
#include "proto/link/stream_half.h"

namespace adit::service {

class Session;
class StreamEnd;

class SessionStream final : public flow::StreamSource {
 public:
  SessionStream(Session& session, const link::Preamble& preamble)
      : session_(session), preamble_(preamble) {}

  StreamNumber number() const { return preamble_.stream; }

  // --- the carrier's view of what is sent: the preamble (relay only), then the stream from `start_
  Bytes peek(std::uint64_t offset) const override;
  bool ends_at(std::uint64_t offset) const override;
  void acked(std::uint64_t offset) override;

 private:
  friend class Session;
  friend class StreamEnd;

  Session& session_;
  link::Preamble preamble_;
  link::SendHalf send_;
  link::ReceiveHalf receive_;
  std::optional<flow::CarrierStream> carried_by_;
  ByteVector head_;           // encoded preamble on this carrier
  std::uint64_t start_ = 0;   // stream offset of the first byte behind head_ on this carrier
  StreamEnd* end_ = nullptr;  // null: the pump is gone, or not there yet
  bool blocked_ = false;      // a write was cut short: tell the end when there is room
  bool readable_ = false;     // tell the end that there is something to read
  bool waiting_ = false;      // in the session's list for either
  bool ack_queued_ = false;
  // This link's carrier has taken both directions to their ends; it may still hold bytes for us.
  bool carrier_closed_ = false;
};

// What the pump holds. The stream tells it when it is gone, so either may go first.
class StreamEnd final : public flow::Duplex {
 public:
  StreamEnd(io::Loop& loop, SessionStream& stream);
  ~StreamEnd() override;

  void start() override;
  Bytes readable() override;
  void consume(std::size_t n) override;
  bool at_end() const override;
  std::size_t write(Bytes bytes) override;
  void finish() override;
  bool flushed() const override { return true; }  // the session keeps what is not handed on
  void abort() override;

 private:
  friend class Session;
  // The stream is over: all of the peer's bytes and its end were taken, or not.
  void leave(bool ended);
  // Both directions are dead. Said at once where somebody listens, else after start().
  void fail(const Error& error);
  void announce();

  io::Loop& loop_;
  SessionStream* stream_;  // null: it is over
  bool ended_ = false;
  std::optional<Error> failure_;  // not said yet
  io::Task announce_;
};

}  // namespace adit::service
