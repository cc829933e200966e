// Every setting of the library that differs from its default, with the reason.
#include <ngtcp2/ngtcp2.h>

#include <iterator>

#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

// UDP payloads that path MTU discovery tries (RFC 8899), in this order: Ethernet's first, since
// most paths carry it, and jumbo frames' where that succeeds; else upwards from a WireGuard
// tunnel's (1420 less headers), over an optical line's and PPPoE's; at last IPv6's minimum.
constexpr std::uint16_t kProbes[] = {kPacketBytesUsual, kPacketBytesMax, 1372, 1406, 1444, 1232};

}  // namespace

void set_library_settings(ngtcp2_settings& out, const Settings& in, Instant now) {
  ngtcp2_settings_default(&out);
  out.initial_ts = timestamp(now);
  // BBR and not CUBIC: where one packet in a thousand is lost for other reasons than a full queue,
  // which is any radio link, CUBIC has a third of a 100 Mbit/s line at 20 ms and a sixth at 100 ms,
  // BBR nine tenths; without loss they are level, on loopback as well (throughput_test, perf/run).
  // It keeps the queue short besides, in which pings and small answers wait. It needs a correction
  // of the library (scripts/deps).
  out.cc_algo = NGTCP2_CC_ALGO_BBR;
  // RFC 9002 §6.2.2 suggests 333 ms, which makes a lost first packet cost a whole second. Most
  // agents are within 100 ms of their relay; one that is not sends one Initial too many.
  out.initial_rtt = 100 * NGTCP2_MILLISECONDS;
  // What path MTU discovery may find; it begins at 1200 bytes (RFC 9000 §14.3).
  out.max_tx_udp_payload_size = kPacketBytesMax;
  out.pmtud_probes = kProbes;
  out.pmtud_probeslen = std::size(kProbes);
  out.handshake_timeout = in.handshake_deadline.count() > 0
                              ? static_cast<ngtcp2_duration>(in.handshake_deadline.count())
                              : UINT64_MAX;
  // 0: the library does not enlarge windows by itself. What a receiver must buffer is decided by
  // Settings, and credit is given by Connection::consume().
  out.max_window = 0;
  out.max_stream_window = 0;
}

void set_transport_params(ngtcp2_transport_params& out, const Settings& in, bool server) {
  ngtcp2_transport_params_default(&out);
  out.initial_max_stream_data_bidi_local = in.stream_window_bytes;
  out.initial_max_stream_data_bidi_remote = in.stream_window_bytes;
  out.initial_max_data = in.connection_window_bytes;
  out.initial_max_streams_bidi = in.streams_bidi_max;
  out.initial_max_streams_uni = 0;  // the link protocol has none
  out.max_idle_timeout = static_cast<ngtcp2_duration>(in.idle_timeout.count());
  // One in use and spare ones for a client that changes its address twice in one round trip.
  out.active_connection_id_limit = 4;
  out.max_datagram_frame_size = in.datagrams ? 65535 : 0;
  out.stateless_reset_token_present = server ? 1 : 0;  // RFC 9000 §18.2: not sent by clients
}

}  // namespace adit::quic
