// What a connection notices of its path beyond what the library does: that it swallows large
// packets, and that it swallows everything.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace adit::quic {

// UDP payloads of an Ethernet frame and of a jumbo frame of 9000 bytes, less IPv6 and UDP headers
// (RFC 9000 §14). Path MTU discovery finds which of them a path carries, or what is less. Larger
// packets cost less: on a path that carries jumbo frames (many data centres, and this machine
// itself) a byte costs a third less CPU time.
inline constexpr std::size_t kPacketBytesUsual = 1452;
inline constexpr std::size_t kPacketBytesMax = 8952;

// Notices that a path swallows packets larger than the smallest that QUIC needs, after discovery
// had found that it carries them (RFC 8899 §4.3): a route through a tunnel, say. Small packets
// still come and go then, so the connection would live and move nothing.
class BlackHole {
 public:
  // Bytes of the largest packet to be sent now.
  std::size_t packet_bytes_max() const { return small_ ? kSmall : kPacketBytesMax; }
  // A packet that is no probe of path MTU discovery.
  void sent(std::size_t bytes, Instant now) {
    if (bytes > kSmall && waiting_since_ == Instant::never()) waiting_since_ = now;
  }
  void received() { ++heard_; }
  // The peer has acknowledged stream data.
  void progressed() { waiting_since_ = Instant::never(), heard_ = 0; }
  void path_changed() { *this = BlackHole(); }
  // On the connection's timer, which runs while anything is unacknowledged.
  void check(std::uint64_t bytes_in_flight, Instant now);

 private:
  static constexpr std::size_t kSmall = 1200;  // RFC 9000 §14
  Instant waiting_since_ = Instant::never();   // the first large packet since the last progress
  std::uint64_t heard_ = 0;                    // datagrams since then
  bool small_ = false;
  Instant small_until_;
};

// Since when what was sent goes without an answer. The probe time-out doubles with each try (RFC
// 9002 §6.2.1), so after some seconds without a network nothing would be sent for as many again,
// while visitors wait for a path that works. From kProbeAfter on a probe goes out every
// kProbeEvery, until the idle time-out ends it; and once something is heard again, more often until
// an acknowledgement comes, behind which loss recovery goes its usual way.
class Unanswered {
 public:
  static constexpr Duration kProbeAfter = 1s, kProbeEvery = 1s, kProbeSoon = 50ms;
  // A peer that sends and acknowledges nothing is as good as silent. (The library shifts by the
  // number of probes without a bound of its own.)
  static constexpr unsigned kProbesMax = 30, kProbesSoonMax = 8;

  // When the first packet was sent that asks for an answer and behind which nothing was heard.
  Instant since() const { return silent_since_; }
  bool waits() const { return unacknowledged_since_ != Instant::never(); }
  Instant next_probe() const { return next_probe_; }
  void sent(std::uint64_t bytes_in_flight, Instant now) {
    if (bytes_in_flight == 0) return;
    silent_since_ = std::min(silent_since_, now);
    unacknowledged_since_ = std::min(unacknowledged_since_, now);
  }
  // Something, though no acknowledgement.
  void heard(Duration rtt, Instant now) {
    silent_since_ = Instant::never();
    if (next_probe_ == Instant::never()) return;
    if (++soon_ > kProbesSoonMax) return;
    next_probe_ = std::min(next_probe_, now + std::clamp(2 * rtt, kProbeSoon, kProbeEvery));
  }
  void acknowledged() { *this = Unanswered(); }
  // On the connection's timer: whether a probe is to be sent now.
  bool probe_due(Instant now) {
    if (next_probe_ == Instant::never()) {
      if (!waits() || now - unacknowledged_since_ < kProbeAfter) return false;
    } else if (now < next_probe_) {
      return false;
    }
    next_probe_ = now + kProbeEvery;
    ++probes_;
    return true;
  }
  bool gives_up() const { return probes_ > kProbesMax; }

 private:
  Instant silent_since_ = Instant::never(), unacknowledged_since_ = Instant::never();
  Instant next_probe_ = Instant::never();  // never(): the library's timer alone
  unsigned probes_ = 0, soon_ = 0;
};

}  // namespace adit::quic
