#include "flow/pump.h"

#include <cerrno>

#include "base/limits.h"
#include "flow/splice_direction.h"
#include "flow/tcp_stream.h"

namespace adit::flow {

Pump::Pump(io::Loop& loop, BulkQueue& bulk, const PumpLimits& limits, std::unique_ptr<Duplex> a,
           std::unique_ptr<Duplex> b, Done done)
    : loop_(loop),
      bulk_(bulk),
      limits_(limits),
      done_(done),
      idle_(loop, Delegate<void()>::to<&Pump::on_idle>(this)),
      last_moved_(loop.now()) {
  side_[0].end = std::move(a);
  side_[1].end = std::move(b);
  for (std::uint8_t i = 0; i < 2; ++i) {
    side_[i].pump = this;
    side_[i].index = i;
    side_[i].end->set_listener(&side_[i]);
  }
}

Pump::~Pump() {
  for (Side& s : side_) s.end->set_listener(nullptr);
}

void Pump::start() {
  idle_.set(loop_.now() + limits_.idle);
  for (Side& s : side_) s.end->start();
}

void Pump::abort() {
  for (Side& s : side_) {
    s.end->set_listener(nullptr);
    s.end->abort();
  }
  for (Direction& d : direction_) d.splice.reset();  // it must not meet a closed socket
  idle_.stop();
}

// Each end waits for the other to take what it had received before it broke: nobody will.
bool Pump::fail_if_stuck() {
  if (!side_[0].end->broken() || !side_[1].end->broken()) return false;
  fail(Error{ECONNRESET, "both ends broke"}, 0);
  return true;
}

void Pump::move(std::uint8_t d) {
  if (fail_if_stuck()) return;
  if (direction_[d].ended) return;
  if (direction_[d].splice != nullptr && !direction_[d].splice->still_copying()) return;
  copy(d);
  if (fail_if_stuck()) return;
  if (from(d).at_end()) return end_direction(d);
  if (direction_[d].splice != nullptr) {
    direction_[d].splice->still_copying();
  } else if (should_promote(d)) {
    on_bulk(d);
  }
}

void Pump::copy(std::uint8_t d) {
  std::size_t total = 0;
  for (;;) {
    const Bytes bytes = from(d).readable();
    if (bytes.empty()) break;
    const std::size_t n = to(d).write(bytes);
    from(d).consume(n);
    total += n;
    if (n < bytes.size()) break;  // on_writable goes on
  }
  moved(d, total);
}

void Pump::on_writable(std::uint8_t side) {
  const auto into = static_cast<std::uint8_t>(side ^ 1);  // the direction that writes to this side
  if (direction_[into].ended) return finish_if_done();
  move(into);
}

bool Pump::should_promote(std::uint8_t d) {
  if (!loop_.real_descriptors()) return false;
  TcpStream* in = from(d).plain_socket();
  return in != nullptr && to(d).plain_socket() != nullptr &&
         in->bulk_turns() >= limits::kPromoteTurns;
}

void Pump::on_bulk(std::uint8_t d) {
  TcpStream& in = *from(d).plain_socket();
  auto pipe = bulk_.pipes().borrow();
  // No descriptors to spare: copying goes on, correct and slower; asked again after as much bulk.
  if (!pipe) return in.forget_bulk();
  direction_[d].splice = std::make_unique<SpliceDirection>(*this, d, in, *to(d).plain_socket(),
                                                           std::move(*pipe));
  in.suspend();
  direction_[d].splice->still_copying();
}

void Pump::end_direction(std::uint8_t d) {
  direction_[d].ended = true;
  direction_[d].splice.reset();
  // Both over: closing the sockets says the same, for one call less.
  const bool closing = direction_[d ^ 1].ended && to(d).plain_socket() && from(d).plain_socket();
  if (!closing) to(d).finish();
  idle_.set(std::min(idle_.at(), loop_.now() + limits_.half_closed));
  finish_if_done();
}

void Pump::finish_if_done() {
  if (!direction_[0].ended || !direction_[1].ended) return;
  if (!side_[0].end->flushed() || !side_[1].end->flushed()) return;  // on_writable asks again
  finish(PumpEnd::Finished);
}

void Pump::moved(std::uint8_t d, std::size_t n) {
  if (n == 0) return;
  direction_[d].bytes += n;
  last_moved_ = loop_.now();
}

void Pump::fail(const Error& error, std::uint8_t side) {
  error_ = error;
  side_[side].end->abort();
  side_[side ^ 1].end->abort();
  finish(PumpEnd::Failed);
}

// Set once an idle time and moved here: a timer is not touched for every byte.
void Pump::on_idle() {
  const bool half = direction_[0].ended || direction_[1].ended;
  const Instant due = last_moved_ + (half ? limits_.half_closed : limits_.idle);
  if (loop_.now() < due) return idle_.set(due);
  error_ = Error{ETIMEDOUT, "idle"};
  for (Side& s : side_) s.end->abort();
  finish(PumpEnd::Idle);
}

void Pump::finish(PumpEnd end) {
  idle_.stop();
  for (Side& s : side_) s.end->set_listener(nullptr);
  for (Direction& d : direction_) d.splice.reset();
  done_(end);
}

}  // namespace adit::flow
