#include "service/edge/forward.h"

#include "flow/tcp_stream.h"

namespace adit::service {

Forward::Forward(Edge& edge, Visitor visitor)
    : edge_(edge), peer_(visitor.peer), tag_(visitor.tag),
      visitor_(std::make_unique<Visitor>(std::move(visitor))) {
  edge_.counters_.open.add(1);
}

Forward::~Forward() {
  edge_.counters_.open.add(-1);
  edge_.journal_.end(tag_, outcome_, edge_.loop_.wall_time(),
                     pump_ == nullptr ? 0 : pump_->forward_bytes(),
                     pump_ == nullptr ? 0 : pump_->backward_bytes());
  if (pump_ != nullptr) {
    edge_.counters_.bytes_in.add(pump_->forward_bytes());
    edge_.counters_.bytes_out.add(pump_->backward_bytes());
  }
  if (visitor_ == nullptr || visitor_->socket) edge_.leave(peer_);  // else a farewell counts it
}

void Forward::dial(StaticUpstreams& upstreams) {
  upstreams_ = &upstreams;
  dial_next();
}

void Forward::dial_next() {
  const auto pick = upstreams_->health.pick(edge_.loop_.now(), tried_);
  if (!pick) {
    Edge& edge = edge_;
    edge.counters_.dial_failed.add();
    Visitor visitor = std::move(*visitor_);
    outcome_ = "refused: upstream_unreachable";
    edge.forwards_.erase(*this);
    return edge.turn_away(std::move(visitor.socket), visitor.peer, TlsAlert::InternalError,
                          "upstream_unreachable", visitor.sni, visitor.tag);
  }
  tried_.push_back(*pick);
  dialer_ = std::make_unique<flow::Dialer>(edge_.loop_, edge_.resolver_,
                                           flow::Dialer::Done::to<&Forward::on_dialled>(this));
  dialer_->dial(upstreams_->to[*pick],
                Deadline::after(edge_.loop_.now(), limits::kDialDeadline));
}

void Forward::on_dialled(Result<io::Socket> socket) {
  const std::size_t index = tried_.back();
  if (!socket) {
    upstreams_->health.failed(index, edge_.loop_.now());
    edge_.log_once(Address{IpAddress{}, static_cast<std::uint16_t>(index)}, "edge.dial_failed",
                   visitor_->sni, upstreams_->to[index].text() + ": " + socket.error().what, tag_);
    return dial_next();
  }
  upstreams_->health.succeeded(index);
  edge_.counters_.routed_static.add();
  edge_.journal_.leads_to(tag_, upstreams_->to[index].text());
  pump(std::make_unique<flow::TcpStream>(edge_.loop_, std::move(*socket)));
}

void Forward::pump(std::unique_ptr<flow::Duplex> far) {
  dialer_.reset();
  give_back(tried_);  // an idle connection holds no list
  auto near = std::make_unique<flow::TcpStream>(edge_.loop_, std::move(visitor_->socket),
                                                std::move(visitor_->early));
  visitor_.reset();
  pump_ =
      std::make_unique<flow::Pump>(edge_.loop_, edge_.bulk_, edge_.limits_.pump, std::move(near),
                                   std::move(far), flow::Pump::Done::to<&Forward::on_done>(this));
  pump_->start();
}

void Forward::abort() {
  if (pump_ != nullptr) pump_->abort();
}

void Forward::on_done(flow::PumpEnd end) {
  switch (end) {
    case flow::PumpEnd::Finished: outcome_ = "finished"; break;
    case flow::PumpEnd::Failed: outcome_ = "failed: " + pump_->error().what; break;
    case flow::PumpEnd::Idle: outcome_ = "idle for too long"; break;
  }
  edge_.forwards_.erase(*this);
}

}  // namespace adit::service
