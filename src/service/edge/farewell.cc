#include "service/edge/farewell.h"

#include "service/edge/edge.h"

namespace adit::service {

namespace {
// Long enough for the alert to cross the world and the close to come back.
constexpr Duration kFarewellDeadline = 2s;
}  // namespace

Farewell::Farewell(Edge& edge, io::Socket socket, const Address& peer)
    : edge_(edge),
      socket_(std::move(socket)),
      peer_(peer),
      receive_(io::Op::Handler::to<&Farewell::on_receive>(this)),
      deadline_(edge.loop_, Delegate<void()>::to<&Farewell::on_deadline>(this)) {}

Farewell::~Farewell() { edge_.leave(peer_); }

void Farewell::say(Bytes words) {
  // A few bytes into an empty socket buffer: taken at once, or the peer is gone already.
  static_cast<void>(edge_.loop_.send(socket_, words));
  edge_.loop_.shutdown_write(socket_);
  deadline_.set(edge_.loop_.now() + kFarewellDeadline);
  edge_.loop_.receive(receive_, socket_);
}

void Farewell::on_receive(const io::Completion& c) {
  if (c.result <= 0) return edge_.farewells_.erase(*this);
  if (!c.more) edge_.loop_.receive(receive_, socket_);
}

void Farewell::on_deadline() { edge_.farewells_.erase(*this); }

}  // namespace adit::service
