// See http_connection.h; HTTP/1.
#pragma once

#include <string>

#include "flow/http_connection.h"
#include "flow/witness.h"
#include "proto/http1/message_reader.h"

namespace adit::flow {

class Http1Exchange;

class Http1Connection final : public HttpConnection, private DuplexListener {
 public:
  Http1Connection(io::Loop& loop, HttpHandler& handler, std::unique_ptr<Duplex> stream,
                  std::string_view scheme);
  ~Http1Connection() override;
  void start() override;
  void drain() override;

 private:
  friend class Http1Exchange;
  enum class Phase : std::uint8_t {
    Head,     // waits for a request
    Serving,  // a request is with the handler, or its response is going out
    Linger,   // all is said; what the client still sends is dropped
    Over,     // to be told, from the loop
  };
  enum class Framing : std::uint8_t { None, Length, Chunked, Close };

  void on_readable() override { advance(); }
  void on_writable() override {
    stream_full_ = false;
    advance();
  }
  void on_failed(const Error& error) override;
  void advance();
  bool step(const Witness& witness);
  void on_timer();
  Instant deadline() const;
  bool read_head();
  void begin(http1::Head head);
  void refuse(int status, std::string_view why);
  bool serve(const Witness& witness);
  void complete();
  void linger();
  void flush();
  void fail(Error why);
  void break_off(const Witness& witness);

  // --- from the exchange ---
  void pull();
  Bytes body();
  void consume(std::size_t n);
  void respond(const http::ResponseHead& head);
  void inform(const http::ResponseHead& head);
  std::size_t write(Bytes bytes);
  void finish();
  void leave(bool finished);
  std::unique_ptr<Duplex> switch_protocol(const http::ResponseHead& head);

  io::Loop& loop_;
  HttpHandler& handler_;
  std::unique_ptr<Duplex> stream_;
  const std::string scheme_;
  http1::MessageReader reader_;
  io::Timer timer_;
  io::Task task_;
  Witness* witness_ = nullptr;

  Phase phase_ = Phase::Head;
  Http1Exchange* exchange_ = nullptr;  // null while Serving: it has left, finished
  bool draining_ = false, first_ = true;
  // Of the request under way:
  bool keep_alive_ = true, minor_0_ = false, to_head_ = false;
  bool expects_ = false;        // the client waits for 100 before its body
  bool request_done_ = true;    // its body is consumed
  bool end_told_ = true;
  std::size_t run_left_ = 0;    // of the body, parsed already, at the front of the stream
  bool head_sent_ = false, finished_ = false;
  Framing framing_ = Framing::None;
  std::uint64_t length_left_ = 0;
  bool blocked_ = false;        // the exchange is owed on_writable
  bool stream_full_ = false;    // the stream owes us on_writable
  std::string out_;             // waits for the stream to take it
  std::optional<Error> failure_;
  Instant since_;               // the phase began, or bytes moved in it
  Instant lingers_since_;
  bool unflushed_ = false;      // when last looked at, lingering
  bool told_ = false;           // that it is over
};

}  // namespace adit::flow
