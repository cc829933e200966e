// Bytes from socket to socket without copying: splice(2) through a pipe, called at once when poll
// says ready (io_uring's own splice goes to a kernel thread and back, which costs more than it
// saves). Only where Loop::real_descriptors().
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "io/fd.h"
#include "io/socket.h"

namespace adit::io {

class SplicePipe {
 public:
  // A pipe of limits::kSplicePipeBytes, or of the largest size below that is allowed. Fails with
  // EMFILE or ENFILE, and with EPERM where the user's pipe budget leaves less than an ordinary
  // pipe.
  static Result<SplicePipe> open();

  std::size_t held() const { return held_; }  // bytes inside
  std::size_t capacity() const { return capacity_; }

 private:
  friend class Splice;
  SplicePipe(Fd out, Fd in, std::size_t capacity)
      : out_(std::move(out)), in_(std::move(in)), capacity_(capacity) {}

  Fd out_, in_;  // the ends: read from, written to
  std::size_t held_ = 0;
  std::size_t capacity_ = 0;
};

struct Spliced {
  std::size_t bytes = 0;
  bool end = false;  // the peer has closed its direction

  // Nothing there now: poll kReadable. With bytes held in the pipe it may also be the pipe that is
  // full: splice_out first.
  bool would_block() const { return bytes == 0 && !end; }
};

// At most `max` bytes from the socket into the pipe.
Result<Spliced> splice_in(const Socket& from, SplicePipe& pipe, std::size_t max);
// As much of the pipe as the socket takes; 0 when its buffer is full: poll kWritable. Call with
// held() > 0.
Result<std::size_t> splice_out(SplicePipe& pipe, const Socket& to);

// Pipes are borrowed while a direction moves bulk and given back when it goes quiet, so that idle
// connections hold none.
class PipePool {
 public:
  // An error means: go on by receive and send. Each pipe borrowed is given back.
  Result<SplicePipe> borrow();
  // Keeps up to limits::kSplicePipesIdleMax empty pipes; one that still holds bytes is closed with
  // them.
  void give_back(SplicePipe pipe);
  std::size_t idle() const { return idle_.size(); }
  std::size_t lent() const { return lent_; }

 private:
  std::size_t lent_ = 0;
  std::vector<SplicePipe> idle_;
};

}  // namespace adit::io
