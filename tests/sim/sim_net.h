// What a simulated network does to what is sent over it. A path leads from one host to another and
// is one-way: the way back has a model of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/prng.h"
#include "base/time.h"

namespace adit::sim {

struct LinkModel {
  Duration delay = 10ms;
  Duration jitter{};  // added to `delay`, uniform in [0, jitter]; by itself it never reorders
  double loss = 0, duplicate = 0, reorder = 0;  // chance for each datagram
  std::uint64_t bandwidth = 0;                  // bits a second; 0: infinite
  // Bits a second that a policer lets through of datagrams, apart from the rest; 0: all.
  std::uint64_t udp_police = 0;
  // Larger IP packets vanish on the way (don't fragment, and no ICMP comes back). What the sender
  // itself refuses by EMSGSIZE is Host::set_mtu.
  std::size_t mtu = 1500;
  // Bytes that wait for the bandwidth; a datagram beyond them is dropped.
  std::size_t queue_bytes = std::size_t{256} << 10;
  // Datagrams that meet a longer queue are marked CE where their sender speaks ECN; 0: never.
  std::size_t ecn_mark_bytes = 0;
  bool blackout = false;  // drops everything, also what is under way
};

struct PathStats {
  std::uint64_t datagrams = 0, lost = 0, overflowed = 0, duplicated = 0, reordered = 0, too_big = 0;
  std::uint64_t segments = 0;  // of TCP
  std::uint64_t bytes = 0;     // with headers, of both
};

class Path {
 public:
  // When the copies of a datagram arrive: none where it is lost.
  struct Arrivals {
    std::array<Instant, 2> at{};
    std::size_t count = 0;
    bool marked = false;  // by ECN
  };

  LinkModel model;
  PathStats stats;
  // World::cut and World::block_udp; apart from the model, so that healing restores it
  bool cut = false, udp_blocked = false;

  bool up() const { return !model.blackout && !cut; }
  // `bytes` with IP and UDP headers; the MTU means nothing to what may be fragmented.
  Arrivals send_datagram(Instant now, std::size_t bytes, bool fragment, Prng& prng);
  // TCP repairs what is lost: a loss is a delay. The caller keeps a connection's segments in order.
  Instant send_segment(Instant now, std::size_t bytes, Prng& prng);
  // The bytes that wait for the bandwidth, and when they will have left.
  std::size_t queued(Instant now) const;
  Instant busy_until() const { return busy_until_; }

 private:
  Instant departure(Instant now, std::size_t bytes);
  Duration random_delay(Prng& prng) const;

  bool policed(Instant now, std::size_t bytes);

  Instant busy_until_, last_arrival_;
  Instant police_until_;  // when what it has let through is paid for
};

// Switched per host. Chances are per call or completion.
struct Faults {
  double short_send = 0;       // send takes a part, send_datagrams some of the datagrams or none
  double fragment = 0.5;       // a receive yields a random piece of what is there
  double coalesce = 0.7;       // datagrams that may share a completion do (UDP_GRO)
  double late_data = 0.3;      // a cancelled operation still yields once more before it ends
  double spurious_wakeup = 0;  // poll says ready although it is not
  double tcp_reset = 0;        // a segment's arrival turns into RST for both ends
  Instant no_descriptors_until;  // EMFILE from accept, open_* and listen_tcp until then

  static Faults none();
  // Some kinds switched on, each with a chance of its own, so that seeds differ in kind and not
  // only in moment. Leaves tcp_reset and no_descriptors_until alone: those end connections.
  static Faults some(Prng& prng);
};

}  // namespace adit::sim
