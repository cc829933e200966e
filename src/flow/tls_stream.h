// TLS over another end: plaintext on this side, records on the inner one. Ends in order by close_notify; an
// inner end without it is a failure, because somebody else may have cut the stream.
#pragma once

#include <memory>

#include "crypto/tls_session.h"
#include "flow/duplex.h"
#include "io/loop.h"

namespace adit::flow {

class TlsStream final : public Duplex, private DuplexListener {
 public:
  TlsStream(io::Loop& loop, std::unique_ptr<Duplex> inner, crypto::TlsSession session);
  ~TlsStream() override;

  void start() override;
  Bytes readable() override { return Bytes(plain_).subspan(plain_at_); }
  void consume(std::size_t n) override;
  bool at_end() const override { return session_.peer_closed() && plain_at_ == plain_.size(); }
  std::size_t write(Bytes bytes) override;
  void finish() override;
  bool flushed() const override { return finished_ && inner_finished_; }
  void abort() override;

 private:
  void on_readable() override { pull(); }
  void on_writable() override;
  void on_failed(const Error& error) override { fail(error); }
  void pull();
  bool take_input();
  bool decrypt();
  void push();
  void fail(const Error& error);
  void run();

  std::unique_ptr<Duplex> inner_;
  crypto::TlsSession session_;
  io::Loop& loop_;
  io::Task task_;         // announces outside of calls into this object
  ByteVector plain_;      // at most one record
  std::size_t plain_at_ = 0;
  bool blocked_ = false;  // a write was cut short
  bool finished_ = false, inner_finished_ = false;
  bool failed_ = false;
  bool* destroyed_ = nullptr;
};

}  // namespace adit::flow
