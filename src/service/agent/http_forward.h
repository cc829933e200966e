// One request on its way to the local service, and the response on its way back: both bodies are
// passed on as they come, neither is held. A response that cannot be completed is cut, so that the
// visitor sees that it is.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "flow/dialer.h"
#include "flow/http_exchange.h"
#include "flow/pump.h"
#include "proto/http1/message_reader.h"
#include "service/agent/http_visit.h"

namespace adit::service {

struct HttpTrouble;

class HttpForward final : public ListNode<HttpForward>, private flow::HttpExchangeListener {
 public:
  HttpForward(HttpVisit& visit, std::unique_ptr<flow::HttpExchange> exchange);
  ~HttpForward();
  // May end, and destroy, this.
  void start();

 private:
  struct Local final : flow::DuplexListener {
    explicit Local(HttpForward& f) : forward(f) {}
    void on_readable() override { forward.down(); }
    void on_writable() override { forward.up(); }
    void on_failed(const Error& error) override { forward.broke(error); }
    HttpForward& forward;
  };

  void on_body() override { up(); }
  void on_writable() override { down(); }
  void on_gone(const Error&) override { end(); }

  void dial();
  void on_dialled(Result<io::Socket> socket);
  void begin(std::unique_ptr<flow::TcpStream> stream);
  bool flush();
  void up();
  void down();
  bool on_head();
  void switch_over(http1::Head head);
  void ended();
  void broke(const Error& error);
  void finished();
  void trouble(const HttpTrouble& what, const std::string& why);
  void on_timer();
  void end();
  void on_pumped(flow::PumpEnd) { end(); }
  void moved();

  HttpVisit& visit_;
  HttpService& service_;
  std::unique_ptr<flow::HttpExchange> exchange_;
  const http::RequestHead& request() const { return exchange_->request(); }
  const bool upgrade_;
  bool entered_ = false;
  Local listener_{*this};
  std::optional<flow::Dialer> dialer_;
  std::unique_ptr<flow::TcpStream> local_;
  http1::MessageReader reader_;
  io::Timer timer_;
  Instant since_;               // something moved
  std::string out_;             // toward the local service
  std::size_t out_at_ = 0;
  std::size_t run_left_ = 0;    // of the response's body, parsed, at the front of the local stream
  bool reused_ = false;         // the connection has served another request
  bool heard_ = false;          // something of a response has come
  bool last_ = false;           // all of the request is in out_
  bool sent_ = false;           // and is out of it
  bool responded_ = false;
  bool keep_alive_ = false;     // the local service lets the connection live
  std::unique_ptr<flow::Pump> pump_;  // after the protocol has changed
};

}  // namespace adit::service
