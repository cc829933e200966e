// The loop over epoll, for kernels and containers that refuse io_uring. A descriptor is registered
// once, edge-triggered, at its first operation; readiness is remembered; a queue takes the
// operations that can go on in turns, one buffer each, so that a busy descriptor does not starve
// the others.
#pragma once

#include <sys/epoll.h>

#include <memory>
#include <vector>

#include "io/posix_loop.h"

namespace adit::io {

class EpollLoop final : public PosixLoop {
 public:
  static Result<std::unique_ptr<EpollLoop>> open();
  ~EpollLoop() override;

  Backend backend() const override { return Backend::Epoll; }

 private:
  struct File {
    std::uint32_t generation = 0;  // in the events: those of a number's former file are dropped
    bool ours = false;             // opened or adopted by this loop, so that we see it closed
    bool registered = false;
    bool readable = false;         // may be: not yet seen empty
    bool ended = false;            // hang-up or error: read on until it shows
  };
  struct Datagrams;  // buffers of recvmmsg

  EpollLoop(std::unique_ptr<Mailbox> mailbox, Fd epoll);

  void wait(Instant until) override;
  void run_collected() override;
  void start_accept(std::uint32_t slot, int fd) override;
  void start_connect(std::uint32_t slot, int fd, const Address& to) override;
  void start_receive(std::uint32_t slot, int fd) override;
  void start_receive_once(std::uint32_t slot, int fd) override;
  void start_receive_datagrams(std::uint32_t slot, int fd) override;
  void start_poll(std::uint32_t slot, int fd, int ready) override;
  void start_cancel(std::uint32_t slot) override;
  void close_raw(int fd) override;
  void on_adopt(int fd) override;
  void on_release(int fd) override;

  File& file(int fd);
  // These give 0 or -errno.
  int watch(int fd, std::uint32_t events, bool known);
  int register_once(int fd);
  int watch_foreign(int fd);
  void start_reading(std::uint32_t slot, int fd, OpKind kind);
  int wait_for_events(Instant until);

  void on_event(const epoll_event& event);
  void queue(std::uint32_t slot);
  void step(std::uint32_t slot);
  void step_accept(std::uint32_t slot);
  void step_receive(std::uint32_t slot);
  void step_receive_datagrams(std::uint32_t slot);
  void finish(std::uint32_t slot, int result);

  Fd epoll_;
  bool precise_wait_ = true;  // epoll_pwait2, Linux 5.11
  std::vector<File> files_;   // by descriptor
  std::vector<epoll_event> events_;
  std::size_t event_count_ = 0;  // of this turn
  // Slots that can go on, each at most once; those before queue_head_ are done.
  std::vector<std::uint32_t> queue_;
  std::size_t queue_head_ = 0;
  std::unique_ptr<std::uint8_t[]> buffer_;
  std::unique_ptr<Datagrams> datagrams_;
};

}  // namespace adit::io
