// The one pump: moves bytes between two ends until both directions have ended in order, one has
// failed, or nothing has moved for too long. Half-close travels; a blocked end stops the reading of
// the other, so nothing queues here. Where both ends are plain sockets and bulk flows, a direction
// is promoted to splice (splice_direction.h) and demoted when it goes quiet: same state machine,
// other buffer.
#pragma once

#include <cstdint>
#include <memory>

#include "flow/bulk_queue.h"
#include "flow/duplex.h"
#include "io/loop.h"

namespace adit::flow {

class SpliceDirection;

enum class PumpEnd : std::uint8_t {
  Finished,  // both directions ended in order
  Failed,    // one end failed; the other was aborted
  Idle,      // nothing moved for the idle time; both were aborted
};

struct PumpLimits {
  Duration idle{};         // while both directions are open
  Duration half_closed{};  // after one has ended
};

class Pump {
 public:
  // Called once, as the last thing; the pump may be destroyed in it, and the last direction's end
  // may not go out before it is.
  using Done = Delegate<void(PumpEnd)>;

  Pump(io::Loop& loop, BulkQueue& bulk, const PumpLimits& limits, std::unique_ptr<Duplex> a,
       std::unique_ptr<Duplex> b, Done done);
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // Both ends begin to read; nothing is moved before the end of this turn.
  void start();
  // Ends both directions now; done is not called.
  void abort();

  // Bytes moved: from a to b, and back.
  std::uint64_t forward_bytes() const { return direction_[0].bytes; }
  std::uint64_t backward_bytes() const { return direction_[1].bytes; }
  // Text of the failure after PumpEnd::Failed.
  const Error& error() const { return error_; }

 private:
  friend class SpliceDirection;

  struct Side final : DuplexListener {
    Pump* pump = nullptr;
    std::unique_ptr<Duplex> end;
    std::uint8_t index = 0;
    void on_readable() override { pump->move(index); }
    void on_writable() override { pump->on_writable(index); }
    void on_failed(const Error& error) override { pump->fail(error, index); }
  };
  struct Direction {
    std::uint64_t bytes = 0;
    std::unique_ptr<SpliceDirection> splice;
    bool ended = false;  // FIN seen and passed on
  };

  Duplex& from(std::uint8_t d) { return *side_[d].end; }
  Duplex& to(std::uint8_t d) { return *side_[d ^ 1].end; }
  void move(std::uint8_t d);
  void copy(std::uint8_t d);
  void on_writable(std::uint8_t side);
  void on_bulk(std::uint8_t d);
  bool should_promote(std::uint8_t d);
  bool fail_if_stuck();
  void end_direction(std::uint8_t d);
  void finish_if_done();
  void moved(std::uint8_t d, std::size_t n);
  void fail(const Error& error, std::uint8_t side);
  void on_idle();
  void finish(PumpEnd end);

  io::Loop& loop_;
  BulkQueue& bulk_;
  const PumpLimits& limits_;  // outlives all pumps: part of the service's configuration
  Done done_;
  Side side_[2];
  Direction direction_[2];
  io::Timer idle_;
  Instant last_moved_;
  Error error_;
};

}  // namespace adit::flow
