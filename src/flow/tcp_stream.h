// A connected TCP socket as an end of a stream. Received bytes are shown where the loop received
// them; only what the listener left is copied, and then reading pauses until it is consumed.
#pragma once

#include "flow/duplex.h"
#include "flow/witness.h"
#include "io/loop.h"

namespace adit::flow {

class TcpStream final : public Duplex {
 public:
  // `early`: bytes already read from the socket (a ClientHello), which come first. Reading starts
  // with start().
  TcpStream(io::Loop& loop, io::Socket socket, ByteVector early = {});
  ~TcpStream() override { Witness::tell(witness_); }

  void start() override;
  Bytes readable() override;
  void consume(std::size_t n) override;
  bool at_end() const override { return ended_ && errno_ == 0 && readable_bytes() == 0; }
  std::size_t write(Bytes bytes) override;
  void finish() override;
  bool flushed() const override { return true; }  // the kernel has it
  void abort() override;
  TcpStream* plain_socket() override { return this; }

  // --- for the splice path ---
  const io::Socket& socket() const { return socket_; }
  // Stops receiving; quiet() turns true when no more bytes can come through this object but those
  // readable.
  void suspend();
  bool quiet() const { return !receive_.armed(); }
  void resume();
  // What splice saw on the socket. Failures are said by on_failed later in this turn or, where the
  // peer may have sent something ahead of them, when that is read.
  void set_ended();
  void receive_failed(int error);
  void send_failed(int error);
  // Receiving or sending has failed: what looks like the end of the stream is none.
  bool broken() const override { return errno_ != 0; }
  // Turns (by their frozen time) in a row that brought at least kPromoteTurnBytes.
  unsigned bulk_turns() const { return bulk_turns_; }
  void forget_bulk() { bulk_turns_ = 0; }

 private:
  void on_receive(const io::Completion& c);
  void on_writable(const io::Completion& c);
  void announce();
  void fail();
  void keep_rest();
  void count(std::size_t n);
  std::size_t readable_bytes() const { return now_.size() + held_.size() - held_at_; }
  void receive_again();

  io::Loop& loop_;
  io::Socket socket_;
  io::Op receive_;
  io::Op write_ready_;
  io::Task announce_;
  Bytes now_;                 // inside on_receive: the loop's buffer
  ByteVector held_;           // what the listener could not pass on; now_ comes behind it
  std::size_t held_at_ = 0;
  Instant turn_;
  std::uint32_t turn_bytes_ = 0;
  std::uint16_t bulk_turns_ = 0;
  std::int16_t errno_ = 0;     // what broke, said once everything received is read
  bool sending_broke_ = false;
  bool suspended_ = true;
  bool ended_ = false;
  bool failed_ = false;
  bool finished_ = false;
  Witness* witness_ = nullptr;
};

}  // namespace adit::flow
