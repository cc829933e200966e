// One probe as the agent answers it, before its local service: does the service take a connection,
// is the certificate in date. Waits: for the hello's first bytes, for the dialler, and for the
// relay to end the stream.
#pragma once

#include <memory>
#include <optional>

#include "flow/dialer.h"
#include "flow/duplex.h"
#include "io/loop.h"
#include "service/edge/owned_list.h"
#include "service/probe/probe.h"

namespace adit::service {

class ProbeReply final : public ListNode<ProbeReply>, private flow::DuplexListener {
 public:
  using Done = Delegate<void(ProbeReply&)>;

  ProbeReply(io::Loop& loop, io::Resolver& resolver, std::unique_ptr<flow::Duplex> end, Done done);
  ~ProbeReply();
  void start(const HostPort& service, ProbeAnswer::Certificate certificate);

 private:
  void on_readable() override;
  void on_writable() override {}
  void on_failed(const Error&) override { done_(*this); }
  void on_dialled(Result<io::Socket> socket);
  void on_deadline();
  void answer_if_ready();

  io::Loop& loop_;
  const Done done_;
  std::unique_ptr<flow::Duplex> end_;
  flow::Dialer dialer_;
  io::Timer deadline_;
  ProbeAnswer answer_;
  bool dialled_ = false, answered_ = false;
  ByteVector hello_;
};

}  // namespace adit::service
