// A byte stream inside a WebSocket connection, behind its opening handshake: each write is a binary
// message, and message boundaries mean nothing. CLOSE ends one direction, as FIN does.
#pragma once

#include <memory>

#include "base/byte_ring.h"
#include "flow/duplex.h"
#include "flow/witness.h"
#include "io/loop.h"
#include "proto/ws/connection.h"

namespace adit::flow {

class WsStream final : public Duplex, private DuplexListener {
 public:
  // What `inner` has to read begins with the first frame.
  WsStream(io::Loop& loop, std::unique_ptr<Duplex> inner, ws::Role role);
  ~WsStream() override;

  void start() override;
  Bytes readable() override { return received_.peek(received_.begin()); }
  void consume(std::size_t n) override;
  bool at_end() const override { return peer_closed_ && received_.empty(); }
  std::size_t write(Bytes bytes) override;
  void finish() override;
  bool flushed() const override { return inner_finished_ && inner_->flushed(); }
  void abort() override;
  bool broken() const override { return failed_ || inner_->broken(); }

 private:
  void on_readable() override { advance(); }
  void on_writable() override { advance(); }
  void on_failed(const Error& error) override { fail(error); }
  void advance();
  Status take_input();
  Status take_events();
  void push();
  void fail(const Error& error);

  io::Loop& loop_;
  std::unique_ptr<Duplex> inner_;
  ws::Connection engine_;
  io::Task task_;
  ByteRing received_;
  bool peer_closed_ = false;
  bool blocked_ = false;  // a write was cut short, and on_writable is owed
  bool inner_finished_ = false;
  bool flush_told_ = false;
  bool failed_ = false;
  Witness* witness_ = nullptr;
};

}  // namespace adit::flow
