// One visitor on its way: dials a static upstream (the next one when that fails) or takes a
// session's stream, then pumps until the end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/list.h"
#include "flow/dialer.h"
#include "flow/pump.h"
#include "service/edge/edge.h"

namespace adit::service {

class Forward final : public ListNode<Forward> {
 public:
  Forward(Edge& edge, Visitor visitor);
  ~Forward();

  // States: dialling (dialer_), then pumping (pump_).
  void dial(StaticUpstreams& upstreams);
  void pump(std::unique_ptr<flow::Duplex> far);
  void abort();

 private:
  void dial_next();
  void on_dialled(Result<io::Socket> socket);
  void on_done(flow::PumpEnd end);

  Edge& edge_;
  Address peer_;
  const VisitorTag tag_;
  std::string outcome_ = "aborted: the relay stopped";  // unless it ends otherwise
  std::unique_ptr<Visitor> visitor_;  // until the pump has it
  StaticUpstreams* upstreams_ = nullptr;
  std::vector<std::size_t> tried_;
  std::unique_ptr<flow::Dialer> dialer_;
  std::unique_ptr<flow::Pump> pump_;
};

}  // namespace adit::service
