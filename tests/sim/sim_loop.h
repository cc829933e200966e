// The third Loop: simulated descriptors of a Host, the world's clock. Its turns are the world's
// steps.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "io/loop.h"
#include "sim/sim_host.h"

namespace adit::sim {

class World;

class SimLoop final : public io::Loop {
 public:
  SimLoop(World& world, Host& host);
  ~SimLoop() override;

  Host& host() { return host_; }

  io::Backend backend() const override { return io::Backend::Sim; }
  WallTime wall_time() const override;
  // Runs the whole world until this loop had a turn. Not from a handler.
  void turn(Instant until) override;
  // From handlers and tests, that is from the one thread of the world.
  bool post(std::unique_ptr<io::Message> message) override;

  Result<io::Socket> listen_tcp(const Address& at, const io::ListenOptions& options) override;
  Result<io::Socket> open_tcp(const Address& toward) override;
  Status bind_foreign(const io::Socket& s, const Address& at) override;
  Result<std::pair<io::Socket, io::Socket>> stream_pair() override;
  Result<io::Socket> open_udp(const Address& at, const io::UdpOptions& options) override;
  Address local_address(const io::Socket& s) const override;
  Address peer_address(const io::Socket& s) const override;
  void shutdown_write(const io::Socket& s) override;
  void abort_on_close(const io::Socket& s) override;
  Status connect_udp(const io::Socket& s, const Address& to) override;
  Result<std::size_t> send(const io::Socket& s, Bytes bytes) override;
  Result<std::size_t> send_datagrams(const io::Socket& s, const io::DatagramBatch& batch) override;

  // --- for the world and the simulated kernel ---
  // When the next turn is due; never: nothing to do.
  Instant due() const;
  void run_turn();
  bool in_turn() const { return in_turn_; }
  // Bytes sent in one turn over all descriptors, the most so far.
  std::size_t most_sent_in_a_turn() const { return most_sent_; }
  // Between turns, for what a test does from outside.
  void catch_up();
  void drop_messages() { mailbox_.clear(); }
  // Looks at an operation in the next turn: its descriptor's state has changed.
  void touch(std::uint32_t slot);
  // The operation's descriptor is being closed.
  void descriptor_closed(std::uint32_t slot);

 protected:
  void start_accept(std::uint32_t slot, int fd) override;
  void start_connect(std::uint32_t slot, int fd, const Address& to) override;
  void start_receive(std::uint32_t slot, int fd) override;
  void start_receive_once(std::uint32_t slot, int fd) override;
  void start_receive_datagrams(std::uint32_t slot, int fd) override;
  void start_poll(std::uint32_t slot, int fd, int ready) override;
  void start_cancel(std::uint32_t slot) override;
  void close_raw(int fd) override;

 private:
  enum class Kind : std::uint8_t { Accept, Connect, Receive, ReceiveOnce, Datagrams, Poll };
  struct OpState {
    Kind kind = Kind::Poll;
    int fd = -1;
    int wanted = 0;  // poll: Ready bits
    int failed = 0;  // errno with which it ends, known when it was started
    bool cancelled = false, closed = false, spurious = false;
    bool queued = false;
  };
  struct Entry {
    std::uint32_t slot, generation;
  };

  SimSocket& socket(const io::Socket& s) const;
  OpState& start(std::uint32_t slot, Kind kind, int fd);
  bool alive(const Entry& e) const;
  void queue(std::uint32_t slot);
  // Looks at one operation: true when it is to be looked at again in this turn.
  bool step(const Entry& e);
  // One completion, if there is one to be had.
  bool attempt(std::uint32_t slot);
  bool attempt_accept(std::uint32_t slot, SimSocket& s);
  bool attempt_connect(std::uint32_t slot, SimSocket& s);
  bool attempt_receive(std::uint32_t slot, SimSocket& s);
  bool attempt_datagrams(std::uint32_t slot, SimSocket& s);
  bool attempt_poll(std::uint32_t slot, SimSocket& s);
  int ready_bits(const SimSocket& s) const;
  std::size_t coalesced(const SimSocket& s);
  bool finish(std::uint32_t slot, int result, Bytes data = {});
  Result<std::size_t> send_one_by_one(SimSocket& s, const io::DatagramBatch& batch,
                                      const Address& from, const Address& to);

  World& world_;
  Host& host_;
  Instant turn_at_ = Instant::never();
  std::uint64_t turns_ = 0;
  bool in_turn_ = false;
  std::size_t sent_ = 0, most_sent_ = 0;
  Result<std::size_t> count_sent(Result<std::size_t> sent);
  std::vector<OpState> ops_;  // by slot
  std::deque<Entry> ready_;
  std::deque<std::unique_ptr<io::Message>> mailbox_;
};

}  // namespace adit::sim
