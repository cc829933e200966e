// The HTTP/1 head that one end of a stream begins with, before the stream becomes something else:
// sends a text, reads the peer's head, and gives the stream back with everything behind the head
// still unread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "flow/duplex.h"
#include "flow/witness.h"
#include "io/loop.h"
#include "proto/http1/head_reader.h"

namespace adit::flow {

class HeadExchange final : private DuplexListener {
 public:
  // Called once, as the last thing; the exchange may be destroyed in it. EPROTO: what came is no
  // head (fault()); EMSGSIZE: it is too long; ETIMEDOUT; ECONNRESET: the stream ended before.
  using Done = Delegate<void(Result<http1::Head>)>;

  HeadExchange(io::Loop& loop, std::unique_ptr<Duplex> stream, http1::HeadReader::Kind kind,
               std::string text, Instant deadline, Done done);
  ~HeadExchange();

  std::unique_ptr<Duplex> take();

 private:
  void on_readable() override { read(); }
  void on_writable() override { write(); }
  void on_failed(const Error& error) override { finish(error); }
  void on_deadline() { finish(Error{ETIMEDOUT, "no HTTP head in time"}); }
  void run();
  void read();
  void write();
  void finish(Result<http1::Head> result);

  io::Loop& loop_;
  std::unique_ptr<Duplex> stream_;
  http1::HeadReader reader_;
  const std::string text_;
  std::size_t sent_ = 0;
  Done done_;
  bool said_ = false;
  io::Timer deadline_;
  io::Task task_;
};

}  // namespace adit::flow
