// TLS over another end: plaintext on this side, records on the inner one. Ends in order by
// close_notify; an inner end without it is a failure, because somebody else may have cut the
// stream.
#pragma once

#include <memory>

#include "crypto/tls_session.h"
#include "flow/duplex.h"
#include "flow/witness.h"
#include "io/loop.h"

namespace adit::flow {

class TlsStream final : public Duplex, private DuplexListener {
 public:
  TlsStream(io::Loop& loop, std::unique_ptr<Duplex> inner, crypto::TlsSession session);
  ~TlsStream() override;

  void start() override;
  Bytes readable() override { return {plain_.get() + plain_at_, plain_size_ - plain_at_}; }
  void consume(std::size_t n) override;
  bool at_end() const override { return session_.peer_closed() && !has_plain(); }
  std::size_t write(Bytes bytes) override;
  void finish() override;
  bool flushed() const override { return finished_ && inner_finished_ && inner_->flushed(); }
  void abort() override;
  bool broken() const override { return failed_ || inner_->broken(); }
  const crypto::TlsSession& session() const { return session_; }
  void forget_keying_material() { session_.forget_keying_material(); }

 private:
  void on_readable() override { advance(); }
  void on_writable() override { advance(); }
  void on_failed(const Error& error) override { fail(error); }
  void run() { advance(); }
  void advance();
  Status take_input();
  Status decrypt();
  void push();
  void fail(const Error& error);
  bool has_plain() const { return plain_at_ < plain_size_; }

  std::unique_ptr<Duplex> inner_;
  crypto::TlsSession session_;
  io::Loop& loop_;
  io::Task task_;  // advances outside of calls into this object
  std::unique_ptr<std::uint8_t[]> plain_;  // room for one record, while records come
  std::size_t plain_at_ = 0, plain_size_ = 0;
  bool blocked_ = false;  // a write was cut short, and on_writable is owed
  bool finished_ = false, inner_finished_ = false;
  bool flush_told_ = false;
  bool failed_ = false;
  bool alerted_ = false;  // it failed, and the inner end has taken the alert that says so
  Witness* witness_ = nullptr;
};

}  // namespace adit::flow
