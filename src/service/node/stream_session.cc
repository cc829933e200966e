#include "service/node/stream_session.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "flow/tcp_stream.h"

namespace adit::service {

StreamSession::Dial::Dial(StreamSession& session, Destination to)
    : destination(std::move(to)),
      dialer(session.context_.loop, session.context_.resolver,
             flow::RacingDialer::Select::to<&Destination::select>(&destination),
             flow::RacingDialer::Done::to<&StreamSession::on_dialled>(&session)) {}

StreamSession::StreamSession(SessionOwner& owner, NodeContext& context, NodeKey& key)
    : ClientSession(owner, Kind::Stream, key, context.loop.now()), context_(context) {}

StreamSession::~StreamSession() {
  CHECK(held_.empty());
  drop_upload();
  context_.budget.unkeep(static_cast<std::size_t>(fetched_ - down_.begin()));
  context_.budget.sub(unfetched());
}

void StreamSession::dial(Destination destination) {
  dial_ = std::make_unique<Dial>(*this, std::move(destination));
  dial_->dialer.dial(dial_->destination.host(), dial_->destination.port(),
                     limits::kNodeConnectStagger,
                     Deadline::after(context_.loop.now(), limits::kNodeConnectDeadline));
}

void StreamSession::on_dialled(Result<io::Socket> socket) {
  const std::unique_ptr<Dial> dial = std::move(dial_);
  if (!socket) {
    drop_upload();
    ended_ = broken_ = true;
    if (linger_ != nullptr) return end_linger();
    return failed(failure_text("connect failed: ", socket.error(), dial->dialer.resolving(),
                               dial->dialer.out_of_time()));
  }
  attach(std::make_unique<flow::TcpStream>(context_.loop, std::move(*socket)));
  if (linger_ != nullptr && up_.empty()) end_linger();
}

void StreamSession::attach(std::unique_ptr<flow::Duplex> upstream) {
  upstream_ = std::move(upstream);
  upstream_->set_listener(this);
  upstream_->start();
  push();
  opened();
}

// --- up ---

StreamSession::Upload StreamSession::upload(ByteVector bytes, std::optional<std::uint64_t> wseq) {
  if (bytes.empty() || broken_) return Upload::Taken;
  if (wseq && *wseq < next_wseq_) return Upload::Taken;  // it was here before
  if (upload_waiting() + bytes.size() > limits::kNodeUploadBytesMax)
    return wseq && *wseq > next_wseq_ ? Upload::AheadFull : Upload::QueueFull;
  if (wseq && *wseq > next_wseq_) {
    if (ahead_.contains(*wseq)) return Upload::Taken;
    if (ahead_.size() == limits::kNodeChunksAheadMax) return Upload::AheadFull;
    ahead_bytes_ += bytes.size();
    context_.budget.add(bytes.size());
    ahead_.emplace(*wseq, std::move(bytes));
    return Upload::Taken;
  }
  append_up(bytes);
  if (!wseq) return push(), Upload::Taken;
  ++next_wseq_;
  for (auto next = ahead_.begin(); next != ahead_.end() && next->first == next_wseq_;
       next = ahead_.begin()) {
    ahead_bytes_ -= next->second.size();
    context_.budget.sub(next->second.size());
    append_up(next->second);
    ahead_.erase(next);
    ++next_wseq_;
  }
  push();
  return Upload::Taken;
}

// Straight to the upstream while nothing waits before it.
void StreamSession::append_up(Bytes bytes) {
  if (up_.empty() && upstream_ != nullptr && !broken_)
    bytes = bytes.subspan(upstream_->write(bytes));
  if (bytes.empty()) return;
  up_.append(bytes);
  context_.budget.add(bytes.size());
}

void StreamSession::push() {
  if (upstream_ == nullptr || broken_) return;
  while (!up_.empty()) {
    const Bytes run = up_.peek(up_.begin());
    const std::size_t n = upstream_->write(run);
    up_.release(up_.begin() + n);
    context_.budget.sub(n);
    if (n < run.size()) return;
  }
}

void StreamSession::on_writable() {
  const std::size_t before = upload_waiting();
  push();
  if (linger_ != nullptr && up_.empty()) return end_linger();
  if (upload_waiting() < before) changed();
}

void StreamSession::drop_upload() {
  context_.budget.sub(upload_waiting());
  up_.release(up_.end());
  ahead_.clear();
  ahead_bytes_ = 0;
}

// --- down ---

void StreamSession::on_readable() {
  if (removed()) {  // what still comes is nobody's
    while (!upstream_->readable().empty()) upstream_->consume(upstream_->readable().size());
    return;
  }
  const std::uint64_t before = down_.end();
  for (;;) {
    const std::size_t share = context_.budget.share();
    const Bytes run = upstream_->readable();
    const std::size_t n = std::min(run.size(), share - std::min(share, unfetched()));
    if (n == 0) {
      if (!run.empty()) context_.budget.wait(*this);
      break;
    }
    down_.append(run.first(n));
    context_.budget.add(n);
    upstream_->consume(n);
  }
  ended_ = ended_ || upstream_->at_end();
  if (down_.end() != before || ended_) changed();
}

void StreamSession::on_room() {
  if (upstream_ != nullptr && !ended_) on_readable();
}

// A reset looks to clients like an end in order; the log knows better.
void StreamSession::on_failed(const Error& error) {
  context_.metrics.counter("adit_node_upstream_failures_total").add();
  context_.log.debug("node.upstream_failed", {{"session", sid().short_text()},
                                              {"error", error.what},
                                              {"unsent", upload_waiting()}});
  ended_ = broken_ = true;
  drop_upload();
  if (linger_ != nullptr) return end_linger();
  changed();
}

node::Payload StreamSession::fetch(std::size_t most) {
  const std::uint64_t begin = fetched_;
  const std::size_t n = std::min(most, unfetched());
  fetched_ += n;
  context_.budget.keep(n);
  node::Payload out(*this, begin, begin + n);
  context_.budget.sub(n);  // others may read now
  if (upstream_ != nullptr && !ended_ && !removed()) on_readable();
  return out;
}

node::Payload StreamSession::again(std::uint64_t begin, std::uint64_t end) {
  return begin == end ? node::Payload() : node::Payload(*this, begin, end);
}

void StreamSession::hold(std::uint64_t offset) {
  held_.push_back(offset);
  ClientSession::hold();
}

void StreamSession::let_go(std::uint64_t offset) {
  held_.erase(std::ranges::find(held_, offset));
  trim();
  ClientSession::let_go();
}

// Gives up what nobody reads, and nobody can ask for again.
void StreamSession::trim() {
  std::uint64_t floor = order_ == nullptr ? fetched_ : order_->kept_from(fetched_);
  for (const std::uint64_t h : held_) floor = std::min(floor, h);
  const std::uint64_t before = down_.begin();
  down_.release(floor);
  context_.budget.unkeep(static_cast<std::size_t>(down_.begin() - before));
}

node::PollOrder& StreamSession::order() {
  if (order_ == nullptr) order_ = std::make_unique<node::PollOrder>();
  return *order_;
}

void StreamSession::forget_answers(Instant then, std::size_t bytes) {
  if (order_ == nullptr) return;
  order_->forget(then, bytes);
  trim();
}

// --- the end ---

void StreamSession::shut() {
  if (upstream_ != nullptr && !broken_ && !up_.empty()) {
    // What the client has sent was taken for delivered.
    ClientSession::hold();
    linger_ = std::make_unique<Linger>(*this);
    linger_->timer.set(context_.loop.now() + limits::kNodeDrainDeadline);
    return;
  }
  if (dial_ != nullptr && !up_.empty() && linger_ == nullptr) {
    ClientSession::hold();
    linger_ = std::make_unique<Linger>(*this);
    linger_->timer.set(context_.loop.now() + limits::kNodeConnectDeadline);
    return;
  }
  dial_.reset();
  upstream_.reset();
  broken_ = ended_ = true;
  drop_upload();
}

void StreamSession::end_linger() {
  linger_.reset();
  dial_.reset();
  upstream_.reset();
  broken_ = ended_ = true;
  drop_upload();
  ClientSession::let_go();
}

}  // namespace adit::service
