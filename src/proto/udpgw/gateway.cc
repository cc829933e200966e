#include "proto/udpgw/gateway.h"

#include <algorithm>

namespace adit::udpgw {

namespace {

// QUIC and plain DNS do not go this way: clients that get ERR turn to what the tunnel does better.
bool refused(std::uint16_t port) { return port == 443 || port == 53; }

}  // namespace

void Gateway::feed(Bytes in, Instant now) {
  while (const auto frame = reader_.read(in)) take(*frame, now);
}

void Gateway::take(const Frame& frame, Instant now) {
  if ((frame.flags & kKeepalive) != 0) return answer(kKeepalive, frame.id);
  if ((frame.flags & kData) == 0) return;
  if (refused(frame.target->port)) return answer(kError, frame.id);
  send(frame, now);
}

void Gateway::send(const Frame& frame, Instant now) {
  auto found = flows_.find(frame.id);
  if (found != flows_.end() && found->second.target != *frame.target) {
    retire(frame.id);
    found = flows_.end();
  }
  if (found == flows_.end()) {
    if (flows_.size() >= settings_.flows_max) retire(least_recent()->first);
    found = flows_.emplace(frame.id, Flow{++last_flow_, *frame.target, false, now, {}}).first;
    ids_.emplace(last_flow_, frame.id);
    events_.push_back(Open{last_flow_, *frame.target});
  }
  Flow& flow = found->second;
  flow.used_at = now;
  ByteVector datagram(frame.datagram.begin(), frame.datagram.end());
  if (flow.open) {
    events_.push_back(Send{flow.number, std::move(datagram)});
    return;
  }
  if (flow.early.size() == limits::kEarlyDatagramsMax) flow.early.pop_front();
  flow.early.push_back(std::move(datagram));
}

std::map<std::uint16_t, Gateway::Flow>::iterator Gateway::find(FlowId flow) {
  const auto id = ids_.find(flow);
  return id == ids_.end() ? flows_.end() : flows_.find(id->second);
}

std::map<std::uint16_t, Gateway::Flow>::iterator Gateway::least_recent() {
  return std::min_element(flows_.begin(), flows_.end(), [](const auto& a, const auto& b) {
    return a.second.used_at < b.second.used_at;
  });
}

void Gateway::opened(FlowId flow) {
  const auto found = find(flow);
  if (found == flows_.end()) return;
  found->second.open = true;
  for (ByteVector& datagram : std::exchange(found->second.early, {}))
    events_.push_back(Send{flow, std::move(datagram)});
}

void Gateway::received(FlowId flow, Bytes datagram, Instant now) {
  const auto found = find(flow);
  if (found == flows_.end()) return;
  found->second.used_at = now;
  ByteVector frame;
  write_data(frame, found->first, found->second.target,
             datagram.first(std::min(datagram.size(), limits::kUdpgwDatagramMax)));
  queue(flow, std::move(frame));
}

void Gateway::failed(FlowId flow) {
  const auto found = find(flow);
  if (found == flows_.end()) return;
  const std::uint16_t id = found->first;
  ids_.erase(flow);
  flows_.erase(found);
  answer(kError, id);
}

void Gateway::retire(std::uint16_t id) {
  const auto found = flows_.find(id);
  const FlowId flow = found->second.number;
  // In place: g++ 12 warns of what the variant's move would read otherwise, of members not there.
  events_.emplace_back(std::in_place_type<Close>, flow);
  ids_.erase(flow);
  flows_.erase(found);
  // Of a frame that is partly gone the rest has to follow.
  const bool begun = out_at_ > 0;
  const auto from = out_.begin() + (begun ? 1 : 0);
  out_.erase(std::remove_if(from, out_.end(), [flow](const Waiting& w) { return w.flow == flow; }),
             out_.end());
}

void Gateway::expire(Instant now) {
  // Ends: each round takes a flow away.
  while (!flows_.empty()) {
    const auto oldest = least_recent();
    if (now - oldest->second.used_at < settings_.idle) return;
    retire(oldest->first);
  }
}

Instant Gateway::next_expiry() const {
  Instant next = Instant::never();
  for (const auto& [id, flow] : flows_) next = std::min(next, flow.used_at + settings_.idle);
  return next;
}

void Gateway::answer(std::uint8_t flags, std::uint16_t id) {
  ByteVector frame;
  write_plain(frame, flags, id);
  queue(0, std::move(frame));
}

// The newest gives way: what waits is older than it and was asked for first.
void Gateway::queue(FlowId flow, ByteVector frame) {
  if (out_.size() >= limits::kUdpgwQueueFramesMax) {
    ++dropped_;
    return;
  }
  out_.push_back({flow, std::move(frame)});
}

Bytes Gateway::output() const {
  return out_.empty() ? Bytes{} : Bytes(out_.front().frame).subspan(out_at_);
}

void Gateway::consume_output(std::size_t n) {
  out_at_ += n;
  while (!out_.empty() && out_at_ >= out_.front().frame.size()) {
    out_at_ -= out_.front().frame.size();
    out_.pop_front();
  }
}

}  // namespace adit::udpgw
