// The loop over io_uring: multishot accept, receive and recvmsg into provided buffer rings; one
// call into the kernel a turn. Closing is a ring operation too: it stands behind everything queued
// earlier, so an operation that was queued but not yet submitted can never meet a descriptor number
// used anew.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/fd.h"
#include "io/posix_loop.h"

struct io_uring_recvmsg_out;
struct io_uring_sqe;

namespace adit::io {

class UringLoop final : public PosixLoop {
 public:
  // What the kernel is asked for, best first. Defer: SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1).
  enum class Mode { Defer, Coop, Plain };

  // The best mode that the kernel has, after a self-test of what the loop needs. May be called on
  // another thread than the one that turns the loop.
  static Result<std::unique_ptr<UringLoop>> open();
  static Result<std::unique_ptr<UringLoop>> open(Mode mode);
  // On the thread that turned the loop, or after that thread has ended.
  ~UringLoop() override;

  Backend backend() const override { return Backend::Uring; }
  Mode mode() const { return mode_; }

 private:
  struct Ring;  // the C library's parts
  struct Event {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
  };
  class BufferRing;
  // user_data of what belongs to no slot. A slot's is slot | generation << 32; generations start at
  // 1.
  static constexpr std::uint64_t kIgnored = UINT32_MAX;
  static constexpr std::uint64_t kWake = UINT32_MAX - 1;
  static constexpr std::uint64_t kAside = UINT32_MAX - 2;

  UringLoop(std::unique_ptr<Mailbox> mailbox, std::unique_ptr<Ring> ring, Mode mode);

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

  io_uring_sqe* next_sqe();
  // user_data: slot and generation, so that a late completion never meets another operation.
  std::uint64_t tag(std::uint32_t slot) const;
  void enable();
  void collect();
  void watch(int fd, std::uint64_t tag);
  void submit_accept(std::uint32_t slot);
  void submit_receive(std::uint32_t slot);
  void submit_receive_once(std::uint32_t slot);
  void submit_receive_datagrams(std::uint32_t slot);

  void run(const Event& event);
  void on_accept(std::uint32_t slot, const Event& event);
  void on_receive(std::uint32_t slot, const Event& event);
  void on_receive_once(std::uint32_t slot, const Event& event);
  void on_datagrams(std::uint32_t slot, const Event& event);
  void on_poll(std::uint32_t slot, const Event& event);
  // Polls that io_uring cannot serve (uring_poll_aside.cc).
  void poll_aside(std::uint32_t slot);
  int watch_aside(int fd);
  void collect_aside();
  void describe(io_uring_recvmsg_out& out, int bytes, Completion& completion);
  void finish(std::uint32_t slot, int result);
  // The operation has ended in the kernel but not for its owner: armed again after this batch.
  void arm_again(std::uint32_t slot);
  void settle();
  void end_operations();

  Mode mode_;
  bool enabled_ = false;
  std::unique_ptr<Ring> ring_;
  Fd aside_;  // an epoll instance, opened by the first poll that needs it
  std::vector<Event> events_;  // of this turn
  // Slots to arm again, to cancel or to fail after the batch.
  std::vector<std::uint32_t> unsettled_;
};

std::string_view name(UringLoop::Mode mode);

}  // namespace adit::io
