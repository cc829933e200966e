#include "service/edge/visitor_hello.h"

#include "service/edge/edge.h"

namespace adit::service {

VisitorHello::VisitorHello(Edge& edge, io::Socket socket, const Address& peer)
    : edge_(edge),
      socket_(std::move(socket)),
      peer_(peer),
      receive_(io::Op::Handler::to<&VisitorHello::on_receive>(this)),
      deadline_(edge.loop_, Delegate<void()>::to<&VisitorHello::on_deadline>(this)) {}

void VisitorHello::start(Instant deadline) {
  deadline_.set(deadline);
  edge_.loop_.receive(receive_, socket_);
}

void VisitorHello::on_receive(const io::Completion& c) {
  if (reader_.state() == HelloState::Done) {
    // Pausing: bytes that came meanwhile belong to the visitor's stream.
    if (c.result > 0) late_.insert(late_.end(), c.data.begin(), c.data.end());
    if (!c.more) finish();
    return;
  }
  if (c.result <= 0) {
    edge_.count_refused(c.result == 0 ? "closed_early" : "receive_error");
    edge_.leave(peer_);
    return edge_.hellos_.erase(*this);
  }
  auto need = reader_.feed(c.data);
  if (!need) return refuse(need.error());
  if (*need == HelloReader::Need::Done) {
    deadline_.stop();
    if (!c.more) return finish();
    edge_.loop_.cancel(receive_);
    return;
  }
  if (!c.more) edge_.loop_.receive(receive_, socket_);
}

void VisitorHello::on_deadline() {
  Edge& edge = edge_;
  const Address peer = peer_;
  io::Socket socket = std::move(socket_);
  edge.hellos_.erase(*this);
  edge.turn_away(std::move(socket), peer, TlsAlert::UserCanceled, "hello_deadline", {});
}

void VisitorHello::refuse(const Error& error) {
  Edge& edge = edge_;
  const HelloFault fault = hello_fault(error);
  const Address peer = peer_;
  const std::string what = error.what;
  io::Socket socket = std::move(socket_);
  edge.hellos_.erase(*this);
  edge.log_once(peer, "edge.bad_hello", {}, what);
  edge.refuse_hello(std::move(socket), peer, fault);
}

void VisitorHello::finish() {
  Edge& edge = edge_;
  const ClientHello hello = reader_.hello();
  ByteVector early = reader_.take();
  early.insert(early.end(), late_.begin(), late_.end());
  const Address local = edge.loop_.local_address(socket_);
  Visitor visitor{std::move(socket_), peer_, local, hello.sni, std::move(early)};
  edge.hellos_.erase(*this);
  edge.on_hello(std::move(visitor), hello);
}

}  // namespace adit::service
