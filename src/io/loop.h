// One thread's event loop: completions collected, then run; one frozen `now` a turn. Three
// implementations: io_uring (UringLoop), epoll (EpollLoop), simulated (SimLoop, tests/sim).
//
// A turn: wait; collect completions; freeze the clock; run handlers; fire timers; run tasks
// (run_later) until there are none; submit. Handlers are never called from inside a call into the
// loop.
//
// Errors are negative errno values in completions, Error in results; nothing throws. All calls
// belong to the loop's own thread except post().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/delegate.h"
#include "base/list.h"
#include "base/result.h"
#include "base/time.h"
#include "io/op.h"
#include "io/socket.h"

namespace adit::io {

enum class Backend : std::uint8_t { Uring, Epoll, Sim };
std::string_view name(Backend backend);

// One-shot timer that its owner embeds; stops when destroyed.
class Timer {
 public:
  Timer(Loop& loop, Delegate<void()> handler) : loop_(loop), handler_(handler) {}
  ~Timer() { stop(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Fires once at or after `at`; setting again moves it. Instant::never() stops it.
  void set(Instant at);
  void stop();
  bool armed() const { return index_ != kIdle; }
  Instant at() const { return at_; }

 private:
  friend class TimerHeap;
  static constexpr std::uint32_t kIdle = UINT32_MAX;
  Loop& loop_;
  Delegate<void()> handler_;
  Instant at_;
  std::uint32_t index_ = kIdle;
};

// Work for the end of this turn ("flush once"); running it later twice in a turn runs it once.
// Leaves the loop when destroyed.
class Task : public ListNode<Task> {
 public:
  explicit Task(Delegate<void()> handler) : handler_(handler) {}

 private:
  friend class Loop;
  Delegate<void()> handler_;
};

// A message to another thread's loop; run there once and destroyed. See Loop::post.
class Message {
 public:
  virtual ~Message() = default;
  virtual void run() = 0;
};

struct ListenOptions {
  bool reuse_port = true;    // one listener per thread on the same address
  int backlog = 4096;
};

struct UdpOptions {
  bool reuse_port = false;
  std::size_t buffer_bytes = std::size_t{4} << 20;  // SO_RCVBUF and SO_SNDBUF asked for
  // > 0: one of so many sockets of its address, bound in the order of their index; QUIC packets
  // find theirs by connection id (io/steering.h). `steer_id_bytes`: the length of our ids.
  unsigned steer_sockets = 0;
  std::size_t steer_id_bytes = 0;
  // The kernel may fragment what exceeds the path MTU. Never for QUIC (RFC 9000 §14).
  bool fragment = false;
  // The address to bind is somebody else's; as bind_foreign().
  bool foreign = false;
};

// What send_datagrams sends: `bytes` holds datagrams of `segment_bytes` each, the last may be
// shorter (UDP GSO, Linux 4.18); segment_bytes 0 or >= bytes.size(): one datagram.
struct DatagramBatch {
  Address to;    // port 0: the peer of a connected socket
  Address from;  // any address: chosen by the kernel
  Bytes bytes;
  std::size_t segment_bytes = 0;
  std::uint8_t ecn = 0;
};

enum Ready : int { kReadable = 1, kWritable = 4 };  // POLLIN, POLLOUT

class Loop {
 public:
  virtual ~Loop();
  virtual Backend backend() const = 0;

  Instant now() const { return now_; }
  virtual WallTime wall_time() const = 0;

  // --- run ---
  // One turn; blocks until something completes or `until`.
  virtual void turn(Instant until) = 0;
  // Turns until stop() is called from a handler.
  void run();
  void stop() { stopping_ = true; }

  void run_later(Task& task);
  // Runs `message` on this loop's thread; may be called from any thread. False, and the message
  // destroyed, when kMailboxMessagesMax are waiting. What is still waiting when the loop dies is
  // destroyed unrun.
  virtual bool post(std::unique_ptr<Message> message) = 0;

  // --- sockets; all nonblocking, close-on-exec ---
  virtual Result<Socket> listen_tcp(const Address& at, const ListenOptions& options) = 0;
  // Unconnected TCP socket for connect().
  virtual Result<Socket> open_tcp(const Address& toward) = 0;
  // Binds such a socket to somebody else's address, and to the port where that is to be had (0 and
  // otherwise: the kernel chooses). EPERM: it takes CAP_NET_ADMIN. See io/answer_routing.h.
  virtual Status bind_foreign(const Socket& s, const Address& at) = 0;
  // Two connected streams within this process; either may be handed over to another thread.
  virtual Result<std::pair<Socket, Socket>> stream_pair() = 0;
  virtual Result<Socket> open_udp(const Address& at, const UdpOptions& options) = 0;
  // Takes over a descriptor (inherited, or handed over by another thread's loop of the same kind).
  Socket adopt(int raw) {
    on_adopt(raw);
    return Socket(*this, raw);
  }
  virtual Address local_address(const Socket& s) const = 0;
  virtual Address peer_address(const Socket& s) const = 0;  // any address where there is none
  // Sends FIN; what was sent before is delivered.
  virtual void shutdown_write(const Socket& s) = 0;
  // The next close of `s` sends RST instead of FIN (SO_LINGER 0): the peer learns that data is
  // missing.
  virtual void abort_on_close(const Socket& s) = 0;
  // A connected UDP socket sends and receives to and from one peer only.
  virtual Status connect_udp(const Socket& s, const Address& to) = 0;

  // --- operations; `op` must not be armed ---
  // Multishot. result: a connected, nonblocking descriptor, to be adopted at once.
  void accept(Op& op, const Socket& listener) { start_accept(begin(op), listener.raw()); }
  // One-shot. result 0 when connected.
  void connect(Op& op, const Socket& s, const Address& to) {
    start_connect(begin(op), s.raw(), to);
  }
  // Multishot until end of stream, error or cancel; to pause, cancel and wait for the last
  // completion, as data may still come until then. result == data.size(); 0 is end of stream (more
  // is false).
  void receive(Op& op, const Socket& s) { start_receive(begin(op), s.raw()); }
  // One-shot: the first bytes, the end or the error. For who reads a little and then hands the
  // socket on: nothing is left to be cancelled.
  void receive_once(Op& op, const Socket& s) { start_receive_once(begin(op), s.raw()); }
  // Multishot; on UDP sockets.
  void receive_datagrams(Op& op, const Socket& s) { start_receive_datagrams(begin(op), s.raw()); }
  // One-shot; `fd` may be any pollable descriptor that the caller owns. result: Ready bits (an
  // error or hang-up counts as both).
  void poll(Op& op, int fd, int ready) { start_poll(begin(op), fd, ready); }
  // Ends an operation soon: its last completion follows (-ECANCELED, or what it had reached). Not
  // armed: nothing happens.
  void cancel(Op& op);

  // --- at once, nonblocking ---
  // Bytes taken by the kernel, 0 when its buffer is full (poll kWritable), or the error.
  virtual Result<std::size_t> send(const Socket& s, Bytes bytes) = 0;
  // Number of bytes sent (whole datagrams), 0 when the kernel's buffer is full.
  virtual Result<std::size_t> send_datagrams(const Socket& s, const DatagramBatch& batch) = 0;
  // Whether descriptors are real, so that splice(2) and hand-over between threads work.
  virtual bool real_descriptors() const { return backend() != Backend::Sim; }

 protected:
  Loop();

  // --- for the implementations ---
  virtual void start_accept(std::uint32_t slot, int fd) = 0;
  virtual void start_connect(std::uint32_t slot, int fd, const Address& to) = 0;
  virtual void start_receive(std::uint32_t slot, int fd) = 0;
  virtual void start_receive_once(std::uint32_t slot, int fd) = 0;
  virtual void start_receive_datagrams(std::uint32_t slot, int fd) = 0;
  virtual void start_poll(std::uint32_t slot, int fd, int ready) = 0;
  // The operation in `slot` shall end; complete() with more == false must follow, in a later step.
  virtual void start_cancel(std::uint32_t slot) = 0;
  virtual void close_raw(int fd) = 0;
  // A descriptor came under this loop's care, or left it without being closed (Socket::release).
  virtual void on_adopt(int) {}
  virtual void on_release(int) {}

  // What lives in a slot while the operation is in flight; implementations keep their own data
  // beside it by slot number.
  struct Slot {
    Op* op = nullptr;        // null: the owner is gone; drop what comes
    std::uint32_t generation = 0;
    bool busy = false;
  };
  // Delivers a completion; frees the slot when !completion.more. With the owner gone an accepted
  // descriptor is the implementation's to close: it returns false then.
  bool complete(std::uint32_t slot, const Completion& completion);
  const Slot& slot(std::uint32_t index) const { return slots_[index]; }
  std::size_t slot_count() const { return slots_.size(); }

  // Fires due timers, runs tasks until there are none.
  void run_timers_and_tasks();
  // min(until, the next timer); `now` when tasks wait.
  Instant wake_at(Instant until) const;
  void set_now(Instant t) { now_ = t; }

 private:
  friend class Op;
  friend class Socket;
  friend class Timer;
  std::uint32_t begin(Op& op);
  void detach(Op& op);

  Instant now_;
  bool stopping_ = false;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  List<Task, Task> tasks_;
  std::unique_ptr<class TimerHeap> timers_;
};

// What the probe found, for the log line and for status.
struct LoopChoice {
  std::unique_ptr<Loop> loop;
  // "io_uring: SINGLE_ISSUER DEFER_TASKRUN", "epoll: io_uring_setup: Operation not permitted"
  std::string reason;
};

// io_uring where the probe passes, else epoll. `forced` skips the choice: then a failing probe is
// an error.
Result<LoopChoice> make_loop();
Result<LoopChoice> make_loop(Backend forced);

}  // namespace adit::io
