#include "proto/quic/streams.h"

#include <algorithm>
#include <utility>

namespace adit::quic {

Stream& Streams::add(QuicStream id) {
  auto& slot = streams_[id];
  CHECK(slot == nullptr);  // the library never uses a stream id twice
  slot = std::make_unique<Stream>(id);
  return *slot;
}

Stream* Streams::find(QuicStream id) {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second.get();
}

const Stream* Streams::find(QuicStream id) const {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second.get();
}

void Streams::make_ready(Stream& s) {
  if (!s.may_send() || s.linked()) return;
  s.turn_bytes = 0;
  ready_.push_back(s);
}

void Streams::count_turn(Stream& s, std::uint64_t bytes) {
  s.turn_bytes += bytes;
  if (s.turn_bytes < kStreamTurnBytes) return;
  s.unlink();
  make_ready(s);
}

void Streams::park(Stream& s) {
  s.unlink();
  parked_.push_back(s);
}

void Streams::record_acked(Stream& s, std::uint64_t offset) {
  if (s.acked == s.acked_told) acked_.push_back(s.id);
  s.acked = std::max(s.acked, offset);
}

void Streams::tell_acked() {
  // A source may call back into the connection, which may detach others: each is looked up anew.
  for (QuicStream id : std::exchange(acked_, {})) {
    Stream* s = find(id);
    if (s == nullptr || s->acked == s->acked_told) continue;
    s->acked_told = s->acked;
    if (s->source != nullptr) s->source->acked(s->acked);
  }
  // A closed stream's last acknowledgement came with its closing; its source is free from here on.
  for (auto& id : std::exchange(closing_, {})) {
    if (Stream* s = find(id)) s->source = nullptr;
  }
}

void Streams::record_closed(Stream& s) {
  s.closed = true;
  s.unlink();
  closing_.push_back(s.id);
}

void Streams::closed_taken(Stream& s) {
  s.closed_told = true;
  closed_.push_back(s.id);
  collect_due_ = true;
}

std::size_t Streams::collect(QuicStream initiator_bit) {
  if (!std::exchange(collect_due_, false)) return 0;
  std::size_t by_peer = 0;
  std::erase_if(closed_, [&](QuicStream id) {
    auto it = streams_.find(id);
    if (it == streams_.end()) return true;
    if (!it->second->received.empty()) return false;
    if ((id & 1) == initiator_bit) ++by_peer;
    streams_.erase(it);
    return true;
  });
  return by_peer;
}

void Streams::forget_sources() {
  for (auto& [id, s] : streams_) {
    s->source = nullptr;
    s->unlink();
  }
  acked_.clear();
  closing_.clear();
}

}  // namespace adit::quic
