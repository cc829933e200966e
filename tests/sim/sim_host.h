// One machine of the world: its addresses, its descriptors, and the loops that run on it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/prng.h"
#include "base/result.h"
#include "io/loop.h"
#include "sim/sim_net.h"

namespace adit::sim {

class SimLoop;
class World;

bool is_loopback(const IpAddress& ip);

using TcpId = std::uint64_t;  // numbered from 1

struct Datagram {
  Address from, to;
  ByteVector bytes;
  std::uint8_t ecn = 0;
  bool fragment = false;  // larger than the MTU it goes in pieces
};

// What the simulated kernel keeps of a descriptor.
struct SimSocket {
  enum class Kind : std::uint8_t { Fresh, Listener, Stream, Datagram };
  struct OpRef {
    SimLoop* loop;
    std::uint32_t slot;
  };

  int fd = -1;
  Kind kind = Kind::Fresh;
  Address local, peer;
  bool reuse_port = false;
  std::vector<OpRef> ops;  // in flight on it

  // Listener: connections that wait to be accepted.
  std::deque<TcpId> waiting;
  std::size_t backlog = 0;
  // Stream: which connection, and which end of it is ours (0: the one that connected).
  TcpId connection = 0;
  std::size_t side = 0;
  bool abort_on_close = false;
  // Datagram.
  std::deque<Datagram> received;
  std::size_t received_bytes = 0, received_bytes_max = 0;
  int error = 0;         // ECONNREFUSED on a connected socket, reported once
  Instant writable_at;   // its send buffer is full until then (a fault)
  bool fragment = false;
};

struct HostStats {
  std::uint64_t datagrams_received = 0;
  std::uint64_t datagrams_dropped = 0;  // the socket's buffer was full
};

class Host {
 public:
  Host(World& world, std::size_t index, std::string name, std::vector<IpAddress> addresses);
  ~Host();

  const std::string& name() const { return name_; }
  World& world() { return world_; }
  std::size_t index() const { return index_; }
  SimLoop& loop(std::size_t i = 0) { return *loops_[i]; }
  std::size_t loop_count() const { return loops_.size(); }
  // A further thread of this machine: shares its descriptors, so they can be handed over.
  SimLoop& add_loop();

  Faults faults;
  HostStats stats;

  const std::vector<IpAddress>& addresses() const { return addresses_; }
  const IpAddress& address() const { return addresses_.front(); }
  // The first one of `toward`'s family; loopback for loopback.
  IpAddress source_for(const IpAddress& toward) const;
  // Packets to `old` vanish from now on; UDP sockets go on from `now`; TCP connections of `old` are
  // dead without anybody being told.
  void change_address(const IpAddress& old, const IpAddress& now);
  bool owns(const IpAddress& ip) const;

  // The loops get no turns (SIGSTOP), while the kernel goes on filling its bounded buffers.
  void pause() { paused_ = true; }
  void pause(Duration d);
  void resume() { paused_ = false; }
  bool paused() const { return paused_; }
  // Of its interface: larger datagrams are refused by EMSGSIZE.
  void set_mtu(std::size_t n) { mtu_ = n; }
  std::size_t mtu() const { return mtu_; }

  // --- descriptors, for the simulated kernel ---
  bool out_of_descriptors() const;
  SimSocket& open(SimSocket::Kind kind);
  SimSocket* find(int fd);  // null: not open
  std::size_t open_descriptors() const { return sockets_.size(); }
  // Gives a socket its address. Port 0: any free one.
  Status bind(SimSocket& s, const Address& at);
  // Cancels what is in flight on it.
  void close(int fd);
  // Wakes the operations on a descriptor whose state has changed.
  void touch(int fd);
  std::uint16_t ephemeral_port();
  // Who gets what comes from `from` to `to`; one of several by the addresses (SO_REUSEPORT).
  SimSocket* listener_at(const Address& to, const Address& from);
  SimSocket* datagram_socket_at(const Address& to, const Address& from);

  // --- address translation, for the simulated network ---
  // How others see one of our UDP addresses.
  Address outside(const Address& inside);
  // Null: a packet to that address gets lost.
  std::optional<Address> inside(const Address& outside) const;
  // Others see this address instead of ours, in TCP.
  IpAddress public_ip(const IpAddress& inside) const { return nat_ip_.value_or(inside); }

 private:
  friend class World;
  using ByPort = std::multimap<std::uint16_t, SimSocket*>;
  static SimSocket* best(const ByPort& table, const Address& to, const Address& from);

  World& world_;
  std::size_t index_;
  std::string name_;
  std::vector<IpAddress> addresses_;
  bool paused_ = false;
  std::uint64_t pauses_ = 0;
  std::size_t mtu_ = 1500;
  std::map<int, std::unique_ptr<SimSocket>> sockets_;
  std::set<int> free_descriptors_;  // below the highest one ever used
  ByPort listeners_, datagram_sockets_;
  std::uint16_t next_port_;
  bool nat_ = false;
  std::optional<IpAddress> nat_ip_;
  std::uint16_t nat_port_ = 20000;
  std::map<Address, Address> nat_out_, nat_in_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
};

}  // namespace adit::sim
