#include "service/edge/visitor_hello.h"

#include "service/edge/edge.h"

namespace adit::service {

VisitorHello::VisitorHello(Edge& edge, io::Socket socket, const Address& peer,
                           std::uint16_t local_port)
    : edge_(edge),
      socket_(std::move(socket)),
      peer_(peer),
      local_port_(local_port),
      receive_(io::Op::Handler::to<&VisitorHello::on_receive>(this)),
      deadline_(edge.loop_, Delegate<void()>::to<&VisitorHello::on_deadline>(this)) {}

// One receive at a time: a hello usually comes at once, and whoever takes the visitor then finds a
// quiet socket without waiting for a cancellation.
void VisitorHello::start(Instant deadline) {
  deadline_.set(deadline);
  edge_.loop_.receive_once(receive_, socket_);
}

void VisitorHello::on_receive(const io::Completion& c) {
  if (c.result <= 0) {
    edge_.count_refused(c.result == 0 ? "closed_early" : "receive_error");
    edge_.leave(peer_);
    return edge_.hellos_.erase(*this);
  }
  auto need = reader_.feed(c.data);
  if (!need) return refuse(need.error());
  if (*need == HelloReader::Need::Done) return finish();
  edge_.loop_.receive_once(receive_, socket_);
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
  deadline_.stop();
  const auto self = edge_.hellos_.take(*this);  // the hello lives in the reader
  const ClientHello& hello = reader_.hello();
  Visitor visitor{std::move(socket_), peer_, {IpAddress{}, local_port_}, hello.sni, reader_.take()};
  edge_.on_hello(std::move(visitor), hello);
}

}  // namespace adit::service
