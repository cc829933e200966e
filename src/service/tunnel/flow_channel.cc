#include "service/tunnel/flow_channel.h"

#include <utility>

#include "base/limits.h"

namespace adit::service {

namespace {

using Kind = link::FlowRecord::Kind;

// An empty preamble; see flow_record.h.
constexpr std::uint8_t kFlowStreamMark[] = {0};

Counter& dropped(Metrics& m, std::string_view why) {
  return m.counter("adit_flow_datagrams_dropped_total", "reason=\"" + std::string(why) + "\"");
}

}  // namespace

FlowChannel::FlowChannel(Role role, Metrics& metrics, FlowListener& listener)
    : role_(role),
      listener_(listener),
      sent_(metrics.counter("adit_flow_datagrams_total", "direction=\"to_link\"")),
      received_(metrics.counter("adit_flow_datagrams_total", "direction=\"from_link\"")),
      by_stream_(metrics.counter("adit_flow_datagrams_by_stream_total")),
      dropped_queue_(dropped(metrics, "queue_full")),
      resets_(metrics.counter("adit_flow_streams_lost_total")),
      malformed_(metrics.counter("adit_flow_records_malformed_total")) {}

FlowChannel::~FlowChannel() { detach(); }

// --- flows ---------------------------------------------------------------------------------------

void FlowChannel::add(link::FlowNumber flow, std::optional<link::FlowOpen> open) {
  auto box = std::make_unique<Outbox>();
  box->flow = flow;
  box->opened = !open.has_value();
  box->open = std::move(open);
  const bool fresh = boxes_.emplace(flow, std::move(box)).second;
  CHECK(fresh);
}

void FlowChannel::opened(link::FlowNumber flow, bool known) {
  const auto found = boxes_.find(flow);
  if (found != boxes_.end()) found->second->opened = known;
}

void FlowChannel::remove(link::FlowNumber flow) {
  const auto found = boxes_.find(flow);
  if (found == boxes_.end()) return;
  for (const ByteVector& d : found->second->waiting) queued_bytes_ -= d.size();
  boxes_.erase(found);
}

void FlowChannel::send(link::FlowNumber flow, Bytes payload) {
  const auto found = boxes_.find(flow);
  CHECK(found != boxes_.end());
  Outbox& box = *found->second;
  // IPv6 carries a little more than a record does.
  if (payload.size() > limits::kDatagramPayloadMax) return dropped_queue_.add();
  if (box.waiting.size() >= limits::kFlowQueueDatagramsMax) drop_oldest(box);
  while (queued_bytes_ + payload.size() > limits::kFlowsQueueBytesMax && !box.waiting.empty())
    drop_oldest(box);
  // All the room is others': this one has nothing older to give.
  if (queued_bytes_ + payload.size() > limits::kFlowsQueueBytesMax) return dropped_queue_.add();
  box.waiting.emplace_back(payload.begin(), payload.end());
  queued_bytes_ += payload.size();
  if (!box.linked()) ready_.push_back(box);
  if (carrier_ == nullptr) return;
  if (carrier_->datagram_bytes_max() == 0 || !box.opened) return fill_stream();
  carrier_->wake_datagrams();
}

void FlowChannel::drop_oldest(Outbox& box) {
  queued_bytes_ -= box.waiting.front().size();
  box.waiting.pop_front();
  dropped_queue_.add();
}

ByteVector FlowChannel::take_front(Outbox& box) {
  ByteVector out = std::move(box.waiting.front());
  box.waiting.pop_front();
  queued_bytes_ -= out.size();
  sent_.add();
  return out;
}

void FlowChannel::tell(link::FlowNumber flow, Kind kind) {
  if (role_ == Role::Relay && kind == Kind::Gone) {
    if (gone_.size() >= limits::kFlowsPerSessionMax) gone_.erase(gone_.begin());
    gone_.push_back(flow);
  }
  // A peer that reads nothing gets nothing more: what it misses it asks for again.
  if (carrier_ == nullptr || !open_stream() || ring_.size() > 2 * limits::kFlowStreamBytes) return;
  write({kind, flow, {}, {}});
}

// --- onto the link -------------------------------------------------------------------------------

// Flows in turn, a datagram each. What may not go as a datagram goes on the stream on the way.
ByteVector FlowChannel::next_datagram(std::size_t bytes_max) {
  List<Outbox, Outbox> stuck;
  ByteVector out;
  while (Outbox* box = ready_.pop_front()) {
    const ByteVector& front = box->waiting.front();
    const std::size_t size = link::flow_datagram_overhead(box->flow) + front.size();
    if (!box->opened || size > bytes_max) {
      if (send_by_stream(*box)) {
        if (!box->waiting.empty()) ready_.push_back(*box);
      } else {
        stuck.push_back(*box);
      }
      continue;
    }
    const ByteVector payload = take_front(*box);
    link::write_flow_datagram(out, box->flow, payload);
    if (!box->waiting.empty()) ready_.push_back(*box);
    break;
  }
  stuck.take_all(ready_);
  ready_.take_all(stuck);
  return out;
}

// The agent waits for the relay's stream. At its limit of streams the relay tries again with the
// next datagram.
bool FlowChannel::open_stream() {
  if (stream_) return true;
  if (role_ == Role::Agent) return false;
  auto id = carrier_->open_stream();
  if (!id) return false;
  stream_ = *id;
  ring_ = ByteRing();
  ring_.append(kFlowStreamMark);
  carrier_->attach(*id, this);
  return true;
}

bool FlowChannel::send_by_stream(Outbox& box) {
  if (!open_stream() || ring_.size() >= limits::kFlowStreamBytes) return false;
  link::FlowRecord record{Kind::Data, box.flow, {}, {}};
  if (!box.opened && box.open) {
    record.kind = Kind::Open;
    record.open = *box.open;
  }
  record.payload = take_front(box);
  by_stream_.add();
  write(record);
  return true;
}

void FlowChannel::write(const link::FlowRecord& record) {
  ByteVector bytes;
  link::write_flow_record(bytes, record);
  ring_.append(bytes);
  carrier_->wake(*stream_);
}

void FlowChannel::fill_stream() {
  const bool all = carrier_->datagram_bytes_max() == 0;
  if (!all) return carrier_->wake_datagrams();  // it asks, and the stream gets what is its
  while (Outbox* box = ready_.pop_front()) {
    const bool taken = send_by_stream(*box);
    if (!box->waiting.empty()) ready_.push_back(*box);
    if (!taken) return;
  }
}

void FlowChannel::acked(std::uint64_t offset) {
  ring_.release(offset);
  if (carrier_ != nullptr && !ready_.empty()) fill_stream();
}

// --- links ---------------------------------------------------------------------------------------

void FlowChannel::attach(flow::Carrier& carrier) {
  detach();
  carrier_ = &carrier;
  carrier.set_datagram_source(this);
  // An agent without datagrams has nothing else to answer by.
  const bool wanted = role_ == Role::Relay && (!boxes_.empty() || !gone_.empty());
  // Numbers are not used again, and one that the agent has forgotten as well says nothing to it;
  // else it would keep the flow's socket for minutes.
  if (wanted && open_stream())
    for (const link::FlowNumber flow : gone_) write({Kind::Gone, flow, {}, {}});
  // What the lost link may have swallowed with the OPEN is told again; an agent that knows the flow
  // takes the payload and says so.
  if (!ready_.empty()) fill_stream();
}

void FlowChannel::detach() {
  if (carrier_ == nullptr) return;
  carrier_->set_datagram_source(nullptr);
  leave_stream();
  carrier_ = nullptr;
}

// The carrier may point into what it has not acknowledged: it is told before that goes.
void FlowChannel::leave_stream() {
  if (stream_) carrier_->detach(*stream_);
  stream_.reset();
  ring_ = ByteRing();
  reader_ = {};
}

bool FlowChannel::adopt(flow::CarrierStream id) {
  const Bytes begun = carrier_ == nullptr ? Bytes{} : carrier_->readable(id);
  if (role_ == Role::Relay || stream_ || begun.empty() || begun[0] != kFlowStreamMark[0])
    return false;
  stream_ = id;
  carrier_->consume(id, sizeof kFlowStreamMark);
  ring_ = ByteRing();
  carrier_->attach(id, this);
  if (!ready_.empty()) fill_stream();
  return true;
}

void FlowChannel::on_readable() {
  while (carrier_ != nullptr && stream_) {
    const Bytes bytes = carrier_->readable(*stream_);
    if (bytes.empty()) break;
    auto records = reader_.feed(bytes);
    carrier_->consume(*stream_, bytes.size());
    if (!records) {
      malformed_.add();
      return carrier_->close(static_cast<std::uint64_t>(link::CloseCode::Protocol),
                             records.error().what);
    }
    deliver(std::move(*records));
  }
}

// The relay opens another with the next datagram.
void FlowChannel::on_closed(bool by_reset) {
  resets_.add();
  if (by_reset) carrier_->reset(*stream_, static_cast<std::uint64_t>(link::ResetCode::Protocol));
  leave_stream();
}

void FlowChannel::on_datagram(Bytes datagram) {
  auto record = link::parse_flow_datagram(datagram);
  if (!record) return malformed_.add();
  received_.add();
  listener_.on_flow_record(std::move(*record));
}

void FlowChannel::deliver(std::vector<link::FlowRecord> records) {
  for (link::FlowRecord& record : records) {
    if (record.kind == Kind::Data || record.kind == Kind::Open) received_.add();
    listener_.on_flow_record(std::move(record));
  }
}

}  // namespace adit::service
