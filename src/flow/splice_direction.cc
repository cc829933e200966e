#include "flow/splice_direction.h"

#include "base/limits.h"
#include "flow/pump.h"
#include "flow/tcp_stream.h"

namespace adit::flow {

namespace {
// Below this a chunk does not pay for its two system calls more than a copy would (measured: from
// pieces of about 32 KiB up splice wins).
constexpr std::size_t kSmallChunkBytes = 16 * 1024;
constexpr std::uint8_t kSmallChunksMax = 16;
}  // namespace

SpliceDirection::SpliceDirection(Pump& pump, std::uint8_t direction, TcpStream& from, TcpStream& to,
                                 io::SplicePipe pipe)
    : pump_(pump),
      direction_(direction),
      from_(from),
      to_(to),
      pipe_(std::move(pipe)),
      ready_(io::Op::Handler::to<&SpliceDirection::on_ready>(this)) {}

SpliceDirection::~SpliceDirection() { pump_.bulk_.pipes().give_back(std::move(pipe_)); }

bool SpliceDirection::still_copying() {
  if (state_ != State::Suspending) return false;
  if (!from_.quiet() || !from_.readable().empty()) return true;
  state_ = State::Reading;
  pump_.bulk_.push(*this);
  return false;
}

void SpliceDirection::wait(State state) {
  state_ = state;
  const bool writing = state == State::Writing;
  pump_.loop_.poll(ready_, (writing ? to_ : from_).socket().raw(),
                   writing ? io::kWritable : io::kReadable);
}

void SpliceDirection::on_ready(const io::Completion& c) {
  if (c.result >= 0) return pump_.bulk_.push(*this);
  if (state_ == State::Writing) return to_.send_failed(-c.result);
  from_.receive_failed(-c.result);
}

std::size_t SpliceDirection::run_chunk() {
  if (state_ == State::Reading && !take()) return 0;
  std::size_t moved = 0;
  if (pipe_.held() > 0) {
    const auto out = io::splice_out(pipe_, to_.socket());
    if (!out) return to_.send_failed(out.error().code), 0;
    moved = *out;
    pump_.moved(direction_, moved);
  }
  if (pipe_.held() > 0) return wait(State::Writing), moved;
  if (ended_) {
    from_.set_ended();
    if (!from_.broken()) pump_.end_direction(direction_);  // destroys this
  } else if (small_chunks_ >= kSmallChunksMax) {
    demote();
  } else {
    wait(State::Reading);
  }
  return moved;
}

// Fills the pipe; false: nothing came and something else happens next.
bool SpliceDirection::take() {
  const auto in = io::splice_in(from_.socket(), pipe_, limits::kSplicePipeBytes);
  if (!in) return from_.receive_failed(in.error().code), false;
  if (in->would_block()) return wait(State::Reading), false;
  ended_ = in->end;
  small_chunks_ = in->bytes >= kSmallChunkBytes ? 0 : static_cast<std::uint8_t>(small_chunks_ + 1);
  return true;
}

void SpliceDirection::demote() {
  TcpStream& from = from_;
  Pump& pump = pump_;
  pump.direction_[direction_].splice.reset();  // destroys this
  from.resume();
}

}  // namespace adit::flow
