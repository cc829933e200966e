// A local service of HTTP as its visitors' requests see it: its names, its connections that wait
// for a next request, and what is remembered of requests that came to nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "flow/bulk_queue.h"
#include "flow/pump.h"
#include "flow/tcp_stream.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/edge/owned_list.h"
#include "service/edge/visitor_journal.h"

namespace adit::service {

// What all services of an agent share; outlives them.
struct HttpSurroundings {
  io::Loop& loop;
  io::Resolver& resolver;
  Log& log;
  LogRateLimit& once;
  Metrics& metrics;
  flow::BulkQueue& bulk;
  const flow::PumpLimits& pump_limits;
  VisitorJournal& journal;
};

class HttpService {
 public:
  // `answer_within`: until the local service begins its response.
  HttpService(const HttpSurroundings& around, HostPort to, Duration answer_within);
  ~HttpService();

  const HttpSurroundings& around() const { return around_; }
  const HostPort& to() const { return to_; }
  Duration answer_within() const { return answer_within_; }

  // Granted by a relay; several may grant different ones.
  void add_names(const std::vector<std::string>& names);
  bool has_name(std::string_view host) const;

  // --- connections ---
  // One on which a response is over and another request may follow; null: none. Its service may be
  // about to close it.
  std::unique_ptr<flow::TcpStream> take_idle();
  void keep(std::unique_ptr<flow::TcpStream> stream);
  std::size_t idle() const { return idle_.size(); }

  // Whether one more request may be under way; then it is.
  bool enter();
  void leave() { --requests_; }

 private:
  class Idle;
  void on_timer();

  const HttpSurroundings around_;
  const HostPort to_;
  const Duration answer_within_;
  std::vector<std::string> names_;
  std::size_t requests_ = 0;
  OwnedList<Idle> idle_;  // the oldest first
  io::Timer timer_;
};

}  // namespace adit::service
