// One end of a two-way byte stream, as the pump sees it: a plain socket, TLS over another end, or a
// stream of a session. Bytes are taken from where they lie (readable/consume) and written from
// where they lie, so an end never has to hold what its peer cannot take.
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/result.h"

namespace adit::io {
class Socket;
}

namespace adit::flow {

class TcpStream;

// Called by an end, never from inside a call into that end. The listener may destroy the end; the
// end touches nothing of itself afterwards.
class DuplexListener {
 public:
  virtual void on_readable() = 0;  // new bytes, or the end of the stream
  virtual void on_writable() = 0;  // after a short write: there is room again
  virtual void on_failed(const Error& error) = 0;  // both directions are dead; said once

 protected:
  ~DuplexListener() = default;
};

class Duplex {
 public:
  virtual ~Duplex() = default;
  void set_listener(DuplexListener* listener) { listener_ = listener; }

  // Reading begins; what is there already is announced by on_readable later in this turn. Again for
  // a new listener.
  virtual void start() = 0;

  // The first run of bytes received and not consumed; valid until consume() or the next turn.
  virtual Bytes readable() = 0;
  virtual void consume(std::size_t n) = 0;
  // The peer has ended its direction in order and all of it is consumed.
  virtual bool at_end() const = 0;

  // Takes what there is room for and says how much; fewer than given: on_writable follows.
  virtual std::size_t write(Bytes bytes) = 0;
  // Ends our direction behind what was written; the other direction lives on.
  virtual void finish() = 0;
  // All that was written, and the end if finish() was called, is out of our hands.
  virtual bool flushed() const = 0;
  // Both directions end now and the peer learns that it was not in order (RST, RESET_STREAM,
  // alert).
  virtual void abort() = 0;

  // It takes no more bytes; on_failed follows when what it received has been read.
  virtual bool broken() const { return false; }

  // The plain socket behind this end, if it is one: then two ends can be joined by splice.
  virtual TcpStream* plain_socket() { return nullptr; }

 protected:
  DuplexListener* listener_ = nullptr;
};

}  // namespace adit::flow
