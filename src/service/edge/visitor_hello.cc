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
  if (edge_.is_balancer(peer_.ip)) proxy_ = std::make_unique<ProxyHeaderReader>();
  edge_.loop_.receive_once(receive_, socket_);
}

void VisitorHello::on_receive(const io::Completion& c) {
  if (c.result <= 0) return drop(c.result == 0 ? "closed_early" : "receive_error");
  if (proxy_ != nullptr) return on_proxy_header(c.data);
  on_hello_bytes(c.data);
}

void VisitorHello::drop(std::string_view reason) {
  edge_.count_refused(reason);
  edge_.leave(peer_);
  edge_.hellos_.erase(*this);
}

// The balancer is trusted to say who the visitor is, and not to forget it.
void VisitorHello::on_proxy_header(Bytes bytes) {
  auto done = proxy_->feed(bytes);
  if (!done) {
    edge_.log_once(peer_, "edge.bad_proxy_header", {}, done.error().what);
    return drop("bad_proxy_header");
  }
  if (!*done) return edge_.loop_.receive_once(receive_, socket_);
  const std::unique_ptr<ProxyHeaderReader> header = std::move(proxy_);
  if (const auto& named = header->connection()) {
    edge_.leave(peer_);
    peer_ = named->source;
    destination_ = named->destination;
    edge_.enter(peer_);
    if (edge_.over_address_limit(peer_)) {
      edge_.loop_.abort_on_close(socket_);
      edge_.leave(peer_);
      return edge_.hellos_.erase(*this);
    }
  }
  if (header->rest().empty()) return edge_.loop_.receive_once(receive_, socket_);
  on_hello_bytes(header->rest());
}

void VisitorHello::on_hello_bytes(Bytes bytes) {
  auto need = reader_.feed(bytes);
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
  Visitor visitor{std::move(socket_), peer_, {IpAddress{}, local_port_}, hello.sni, reader_.take(),
                  destination_};
  edge_.on_hello(std::move(visitor), hello);
}

}  // namespace adit::service
