// See http_connection.h; HTTP/2.
#pragma once

#include <map>
#include <string>

#include "base/token_bucket.h"
#include "flow/http_connection.h"
#include "flow/witness.h"
#include "proto/h2/server.h"

namespace adit::flow {

class Http2Exchange;

class Http2Connection final : public HttpConnection, private DuplexListener {
 public:
  Http2Connection(io::Loop& loop, HttpHandler& handler, std::unique_ptr<Duplex> stream);
  ~Http2Connection() override;
  void start() override;
  void drain() override;

 private:
  friend class Http2Exchange;

  void on_readable() override { advance(); }
  void on_writable() override { advance(); }
  void on_failed(const Error& error) override;
  void run() { advance(); }
  void advance();
  void take_input();
  bool take_events(const Witness& witness);
  void on_event(const h2::ServerEvent& event);
  void on_request(const h2::RequestCame& came);
  bool push();
  void part(h2::StreamId id, const Error& why);
  bool part_all(const Witness& witness, const Error& why);
  void on_timer();
  bool end_stalled(const Witness& witness);
  void cut_left();
  // From an exchange, which leaves.
  void leave(h2::StreamId id);

  io::Loop& loop_;
  HttpHandler& handler_;
  std::unique_ptr<Duplex> stream_;
  h2::Server engine_;
  io::Timer timer_;
  io::Task task_;
  Witness* witness_ = nullptr;
  std::map<h2::StreamId, Http2Exchange*> exchanges_;
  // Responses whose exchange has left them to us, by what had been sent of them at which time.
  struct Left {
    std::uint64_t sent;
    Instant since;
  };
  std::map<h2::StreamId, Left> left_;
  TokenBucket provoked_;
  std::string out_;  // waits for the stream to take it
  std::size_t out_at_ = 0;
  Instant since_;    // nothing has been under way, or output stuck
  Instant lingers_since_;
  bool unflushed_ = false;  // when last looked at, lingering
  bool first_ = true, draining_ = false, lingers_ = false, over_ = false;
  std::optional<Error> failure_;
};

}  // namespace adit::flow
