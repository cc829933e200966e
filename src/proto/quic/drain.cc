// What a connection sends: packets of one path and size, one behind the other, filled from the
// streams in turn and from the queue of datagrams.
#include <ngtcp2/ngtcp2.h>

#include <algorithm>
#include <utility>

#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

// UDP_SEGMENT: the kernel takes 64 segments (UDP_MAX_SEGMENTS) and the payload of one IPv4
// datagram.
constexpr std::size_t kSegmentsMax = 64;
constexpr std::size_t kBatchBytesMax = 65507;

// Packets of equal size, of which the last may be shorter, on one path and with one ECN mark.
class Batch {
 public:
  explicit Batch(MutableBytes buffer) : buffer_(buffer) {
    if (buffer_.size() > kBatchBytesMax) buffer_ = buffer_.first(kBatchBytesMax);
  }

  std::size_t size() const { return used_; }
  // For a packet of so many bytes.
  bool has_room(std::size_t bytes) const {
    return !ended_ && segments_ < kSegmentsMax && buffer_.size() - used_ >= bytes;
  }
  MutableBytes room() const {
    return buffer_.subspan(used_, std::min(buffer_.size() - used_, kPacketBytesMax));
  }
  // What follows goes with the next batch.
  void end() { ended_ = true; }

  // The packet written to room(): false where it has to go with the next batch.
  bool take(std::size_t size, const Path& path, std::uint8_t ecn) {
    if (segments_ == 0) {
      out_.path = path;
      out_.ecn = ecn;
      out_.segment_bytes = size;
    } else if (size > out_.segment_bytes || ecn != out_.ecn || path != out_.path) {
      return false;
    }
    ended_ = size < out_.segment_bytes;
    used_ += size;
    ++segments_;
    return true;
  }

  Outgoing outgoing() const {
    Outgoing out = out_;
    out.bytes = buffer_.first(used_);
    return out;
  }

 private:
  MutableBytes buffer_;
  Outgoing out_;
  std::size_t used_ = 0, segments_ = 0;
  bool ended_ = false;
};

ngtcp2_vec vec_of(Bytes b) {
  // The library's vector is not const, but it only reads.
  return {const_cast<std::uint8_t*>(b.data()), b.size()};
}

}  // namespace

// One packet being filled.
struct Connection::Impl::Piece {
  ngtcp2_path* path;
  ngtcp2_pkt_info* info;
  MutableBytes out;
  ngtcp2_tstamp now;
  std::uint64_t connection_left;  // of the peer's connection window
};

Outgoing Connection::Impl::drain(MutableBytes buffer, Instant now) {
  CHECK(buffer.size() >= kPacketBytesUsual);
  give_stream_credit();
  if (phase != Phase::Open) return drain_close(buffer);
  drop_oversized_datagrams();
  Batch batch(buffer);
  if (held) {
    std::copy_n(held->bytes.begin(), held->size, batch.room().begin());
    batch.take(held->size, held->path, held->ecn);
    // A probe of path MTU discovery: where it fits nowhere it takes no other packet with it.
    if (held->size > usual_packet_bytes()) batch.end();
    held.reset();
  }
  // Pacing (RFC 9002 §7.7): a burst of this size now, the next one when next_deadline() says so.
  const std::size_t quantum =
      std::max(ngtcp2_conn_get_send_quantum(conn.get()), kPacketBytesUsual);
  const std::size_t before = batch.size();
  bool wrote = false;
  while (batch.has_room(usual_packet_bytes()) && batch.size() - before < quantum) {
    ngtcp2_path_storage path;
    ngtcp2_path_storage_zero(&path);
    ngtcp2_pkt_info info{};
    const MutableBytes all = batch.room();
    const MutableBytes room = all.first(std::min(all.size(), black_hole.packet_bytes_max()));
    const std::ptrdiff_t n = write_packet(path, info, room, now);
    streams.unpark();
    if (n < 0) fail(static_cast<int>(n), now);
    if (n <= 0) break;
    wrote = true;
    const auto size = static_cast<std::size_t>(n);
    bytes_sent += size;
    const bool probe = size > usual_packet_bytes();
    if (!probe) black_hole.sent(size, now);
    if (batch.take(size, path_of(path), info.ecn)) {
      if (probe) batch.end();
      continue;
    }
    held = std::make_unique<Held>();
    std::copy_n(room.begin(), size, held->bytes.begin());
    held->size = size;
    held->path = path_of(path);
    held->ecn = info.ecn;
    break;
  }
  // By the window, or by the pacing, which is what BBR goes by: there is more, and the peer would
  // take it.
  if (phase == Phase::Open)
    held_up = ngtcp2_conn_get_cwnd_left(conn.get()) < kPacketBytesUsual ||
              (streams.first_ready() != nullptr && ngtcp2_conn_get_max_data_left(conn.get()) > 0);
  if (wrote && phase == Phase::Open) {
    ngtcp2_conn_update_pkt_tx_time(conn.get(), timestamp(now));
    ngtcp2_conn_info sent;
    ngtcp2_conn_get_conn_info(conn.get(), &sent);
    unanswered.sent(sent.bytes_in_flight, now);
  }
  return batch.size() > 0 ? batch.outgoing() : drain_close(buffer);
}

// The largest but for probes of path MTU discovery.
std::size_t Connection::Impl::usual_packet_bytes() const {
  return std::min(ngtcp2_conn_get_path_max_tx_udp_payload_size(conn.get()),
                  black_hole.packet_bytes_max());
}

std::ptrdiff_t Connection::Impl::write_packet(ngtcp2_path_storage& path, ngtcp2_pkt_info& info,
                                              MutableBytes out, Instant now) {
  Piece piece{&path.path, &info, out, timestamp(now), ngtcp2_conn_get_max_data_left(conn.get())};
  // Datagrams and streams begin packets in turn, so that neither starves the other.
  const bool datagram_first = std::exchange(datagram_turn, !datagram_turn);
  if (datagram_first && !datagrams.empty()) {
    if (auto n = write_datagram(piece)) return *n;
  }
  // Every step sends bytes or a FIN, or takes a stream from the list of ready ones.
  while (Stream* s = streams.first_ready()) {
    if (auto n = write_stream(piece, *s)) return *n;
  }
  if (!datagram_first && !datagrams.empty()) {
    if (auto n = write_datagram(piece)) return *n;
  }
  // Nothing more to add: whatever else is due (acknowledgements, retransmissions, probes), or what
  // the calls above have begun.
  return ngtcp2_conn_writev_stream(conn.get(), piece.path, piece.info, out.data(), out.size(),
                                   nullptr, NGTCP2_WRITE_STREAM_FLAG_NONE, -1, nullptr, 0,
                                   piece.now);
}

// Nothing: the packet has room for more. A number: a packet of so many bytes, 0 for none now, or an
// error.
std::optional<std::ptrdiff_t> Connection::Impl::write_datagram(Piece& piece) {
  int accepted = 0;
  const Bytes payload = datagrams.front();
  const ngtcp2_vec vec = vec_of(payload);  // the library wants no empty one
  const ngtcp2_ssize n = ngtcp2_conn_writev_datagram(
      conn.get(), piece.path, piece.info, piece.out.data(), piece.out.size(), &accepted,
      NGTCP2_WRITE_DATAGRAM_FLAG_MORE, 0, &vec, payload.empty() ? 0 : 1, piece.now);
  if (accepted != 0) datagrams.erase(datagrams.begin());
  switch (n) {
    case NGTCP2_ERR_WRITE_MORE:
      return std::nullopt;
    case NGTCP2_ERR_INVALID_ARGUMENT:
    case NGTCP2_ERR_INVALID_STATE:
      // Larger than the peer takes, or it takes none at all.
      datagrams.erase(datagrams.begin());
      return std::nullopt;
    default:
      return n;
  }
}

std::optional<std::ptrdiff_t> Connection::Impl::write_stream(Piece& piece, Stream& s) {
  // Two runs, so that a packet is full also where the source's memory ends.
  const Bytes first = s.source->peek(s.sent);
  const Bytes second = first.empty() ? Bytes{} : s.source->peek(s.sent + first.size());
  const std::size_t size = first.size() + second.size();
  const bool fin = s.source->ends_at(s.sent + size);
  if (size == 0 && !fin) {
    s.unlink();
    return std::nullopt;
  }
  const ngtcp2_vec vecs[2] = {vec_of(first), vec_of(second)};
  ngtcp2_ssize taken = -1;
  const ngtcp2_ssize n = ngtcp2_conn_writev_stream(
      conn.get(), piece.path, piece.info, piece.out.data(), piece.out.size(), &taken,
      NGTCP2_WRITE_STREAM_FLAG_MORE | (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0u), s.id, vecs,
      second.empty() ? (first.empty() ? 0 : 1) : 2, piece.now);
  if (taken >= 0) {
    const auto bytes = static_cast<std::uint64_t>(taken);
    s.sent += bytes;
    piece.connection_left -= std::min(piece.connection_left, bytes);
    s.fin_sent = fin && bytes == size;
    if (s.fin_sent) {
      s.unlink();
    } else {
      streams.count_turn(s, bytes);
    }
  }
  switch (n) {
    case NGTCP2_ERR_WRITE_MORE:
      return std::nullopt;
    case NGTCP2_ERR_STREAM_DATA_BLOCKED:
      if (piece.connection_left == 0) {
        streams.park(s);
      } else {
        s.blocked = true;
        s.unlink();
      }
      return std::nullopt;
    case NGTCP2_ERR_STREAM_SHUT_WR:
    case NGTCP2_ERR_STREAM_NOT_FOUND:
      s.write_shut = true;
      s.unlink();
      return std::nullopt;
    default:
      return n;
  }
}

// The path may have become narrower since they were accepted; they would block the queue.
void Connection::Impl::drop_oversized_datagrams() {
  if (datagrams.empty()) return;
  const std::size_t longest = datagram_bytes_max();
  std::erase_if(datagrams, [longest](const ByteVector& d) { return d.size() > longest; });
}

std::size_t Connection::Impl::datagram_bytes_max() const {
  const ngtcp2_transport_params* peer = ngtcp2_conn_get_remote_transport_params(conn.get());
  if (peer == nullptr || !settings.datagrams) return 0;
  // RFC 9221 §4: type and length. RFC 9000 §17.3.1: flags, connection id, packet number; RFC 9001
  // §5.3: tag.
  constexpr std::size_t kFrame = 1 + 4, kHeader = 1 + 4, kTag = 16;
  const std::size_t packet = kHeader + ngtcp2_conn_get_dcid(conn.get())->datalen + kTag + kFrame;
  const std::size_t path = usual_packet_bytes();
  const std::uint64_t by_peer = peer->max_datagram_frame_size;
  if (by_peer <= kFrame || path <= packet) return 0;
  return static_cast<std::size_t>(std::min<std::uint64_t>(by_peer - kFrame, path - packet));
}

}  // namespace adit::quic
