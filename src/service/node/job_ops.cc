// How each op begins.
#include "proto/codec/base64.h"
#include "service/node/job_entry.h"
#include "service/node/node.h"

namespace adit::service {

using node::OpKind;
using node::OpResult;
using Arrival = node::PollOrder::Arrival;

void Job::begin(Entry& entry) {
  const bool single = mode_ == Mode::Single;
  switch (entry.op.kind) {
    case OpKind::Connect: return begin_connect(entry);
    case OpKind::ConnectData:
      if (!node_.settings().connect_data) break;
      return begin_connect(entry);
    case OpKind::Data: return begin_data(entry);
    case OpKind::UdpOpen:
      if (single) break;
      return begin_udp_open(entry);
    case OpKind::UdpData:
      if (single) break;
      return begin_udp_data(entry);
    case OpKind::Close: return begin_close(entry);
    case OpKind::Unknown: break;
  }
  entry.tell(node::unsupported(entry.op.name));
}

// The payload; false, and told, where it is none.
bool Job::decode(Entry& entry, ByteVector& out) {
  if (!entry.op.data || entry.op.data->empty()) return true;
  const auto fault = codec::base64_decode(*entry.op.data, out);
  turn_bytes_ += entry.op.data->size();
  entry.op.data.reset();
  if (fault) {
    entry.tell(OpResult::error("bad base64: " + fault->text()));
    return false;
  }
  key_.bytes.take(out.size());
  node_.context().metrics.counter("adit_node_bytes_total", "direction=\"up\"").add(out.size());
  entry.carries = !out.empty();
  return true;
}

void Job::attend(Entry& entry, ClientSession& session) {
  entry.session = &session;
  session.hold();
  session.watch(entry);
}

void Job::begin_connect(Entry& entry) {
  active_ = true;
  if (!entry.op.host || entry.op.host->empty())
    return entry.tell(OpResult::error("missing host"));
  if (entry.op.port.value_or(0) == 0)
    return entry.tell(OpResult::error("missing or invalid port"));
  ByteVector first;
  if (entry.op.kind == OpKind::ConnectData && !decode(entry, first)) return;
  auto session = node_.open_stream(key_, *entry.op.host, *entry.op.port);
  if (!session) return entry.tell(OpResult::error(std::move(session).error().what));
  attend(entry, **session);
  entry.opened_here = true;
  static_cast<void>((*session)->upload(std::move(first), std::nullopt));  // an empty queue takes it
}

// The session is not there, or not this key's.
void Job::missing(Entry& entry) {
  if (mode_ == Mode::Single && entry.op.kind == OpKind::Data)
    return entry.tell(OpResult::error("unknown session"));
  entry.tell(entry.empty_result(true));
}

void Job::begin_data(Entry& entry) {
  if (!entry.op.sid || entry.op.sid->empty()) return entry.tell(OpResult::error("missing sid"));
  ByteVector bytes;
  const bool carries = entry.op.data && !entry.op.data->empty();
  StreamSession* stream = node_.find_stream(key_, *entry.op.sid);
  if (!decode(entry, bytes)) {
    if (stream != nullptr) stream->used(loop_.now());
    return;
  }
  active_ = active_ || carries;
  if (stream == nullptr) return missing(entry);
  stream->used(loop_.now());
  attend(entry, *stream);
  if (stream->opening() == ClientSession::Opening::Failed) return settle_failed(entry);
  if (entry.is_poll()) arrive(entry, *stream);
  if (entry.state == Entry::State::Told) return;
  if (stream->told_end() && entry.arrival == Arrival::Fresh) {
    if (entry.is_poll()) stream->order().withdraw(*entry.op.seq);
    return entry.tell(entry.empty_result(true));
  }
  // What is repeated was taken the first time.
  if (entry.arrival == Arrival::Fresh && !upload(entry, *stream, std::move(bytes))) return;
  entry.state = Entry::State::Fetching;
}

void Job::arrive(Entry& entry, StreamSession& stream) {
  entry.arrival = stream.order().arrive(*entry.op.seq);
  if (entry.arrival == Arrival::TooMany) {
    entry.release();
    entry.tell(OpResult::error("too many polls"));
  }
}

bool Job::upload(Entry& entry, StreamSession& stream, ByteVector bytes) {
  const auto taken = stream.upload(std::move(bytes), entry.op.wseq);
  if (taken == StreamSession::Upload::Taken) return true;
  const bool ahead = taken == StreamSession::Upload::AheadFull;
  if (entry.is_poll()) stream.order().withdraw(*entry.op.seq);
  node_.remove(stream);
  entry.release();
  entry.tell(OpResult::error(ahead ? "wseq buffer cap exceeded" : "upload buffer cap exceeded"));
  return false;
}

void Job::begin_udp_open(Entry& entry) {
  active_ = active_ || (entry.op.data && !entry.op.data->empty());
  if (!entry.op.host || entry.op.host->empty())
    return entry.tell(OpResult::error("missing host"));
  if (entry.op.port.value_or(0) == 0)
    return entry.tell(OpResult::error("missing or invalid port"));
  ByteVector first;
  if (!decode(entry, first)) return;
  auto session = node_.open_udp(key_, *entry.op.host, *entry.op.port);
  if (!session) return entry.tell(OpResult::error(std::move(session).error().what));
  attend(entry, **session);
  entry.opened_here = true;
  if (!first.empty()) (*session)->send(std::move(first));
}

void Job::begin_udp_data(Entry& entry) {
  if (!entry.op.sid || entry.op.sid->empty()) return entry.tell(OpResult::error("missing sid"));
  ByteVector bytes;
  if (!decode(entry, bytes)) return;
  active_ = active_ || !bytes.empty();
  UdpSession* udp = node_.find_udp(key_, *entry.op.sid);
  if (udp == nullptr) return missing(entry);
  attend(entry, *udp);
  if (udp->opening() == ClientSession::Opening::Failed) return settle_failed(entry);
  udp->used(loop_.now());
  if (!bytes.empty()) udp->send(std::move(bytes));
  entry.state = Entry::State::Fetching;
}

void Job::begin_close(Entry& entry) {
  if (!entry.op.sid || entry.op.sid->empty()) return entry.tell(OpResult::error("missing sid"));
  ClientSession* session = node_.find_stream(key_, *entry.op.sid);
  if (session == nullptr) session = node_.find_udp(key_, *entry.op.sid);
  if (session != nullptr) node_.remove(*session);
  entry.tell(entry.empty_result(true));
}

}  // namespace adit::service
