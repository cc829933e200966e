// One direction of a pump between two plain sockets, moved by splice(2) through a borrowed pipe: no
// copy into user space. Called inline when poll says ready, never as IORING_OP_SPLICE, which goes
// to a kernel worker thread (measured: two thread hops a chunk).
#pragma once

#include <memory>

#include "flow/bulk_queue.h"
#include "io/loop.h"
#include "io/splice.h"

namespace adit::flow {

class Pump;
class TcpStream;

// States: Suspending: `from` still receives, its last bytes go by copy; neither queued nor polling.
// Reading: the pipe is empty; queued, or polling `from`. Writing: the pipe holds bytes; queued, or
// polling `to`. An end that broke leaves it in Reading or Writing without either: the pump is told
// by the end itself.
class SpliceDirection final : public BulkWork {
 public:
  SpliceDirection(Pump& pump, std::uint8_t direction, TcpStream& from, TcpStream& to,
                  io::SplicePipe pipe);
  ~SpliceDirection();

  // True while bytes still go by copy (Suspending): the pump calls it after each copy; it changes
  // over once nothing can come by copy any more.
  bool still_copying();
  std::size_t run_chunk() override;

 private:
  enum class State : std::uint8_t { Suspending, Reading, Writing };
  void on_ready(const io::Completion& c);
  void wait(State state);
  bool take();
  void demote();

  Pump& pump_;
  std::uint8_t direction_;
  State state_ = State::Suspending;
  std::uint8_t small_chunks_ = 0;  // in a row
  bool ended_ = false;
  TcpStream& from_;
  TcpStream& to_;
  io::SplicePipe pipe_;
  io::Op ready_;
};

}  // namespace adit::flow
