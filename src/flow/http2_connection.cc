#include "flow/http2_connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace adit::flow {

namespace {
constexpr std::size_t kFeedBytes = 16 * 1024;
// How often stalled requests are looked for.
constexpr Duration kStallTick = 5s;
constexpr std::uint32_t kNoError = 0, kEnhanceYourCalm = 0xb;  // RFC 9113 §7
}  // namespace

class Http2Exchange final : public HttpExchange {
 public:
  Http2Exchange(Http2Connection& connection, h2::StreamId id, http::RequestHead request,
                bool expects)
      : HttpExchange(std::move(request)),
        connection_(&connection),
        id_(id),
        since_(connection.loop_.now()),
        expects_(expects) {}
  ~Http2Exchange() override { abort(); }

  Bytes readable() override {
    if (connection_ == nullptr) return {};
    if (std::exchange(expects_, false) && !responded_) inform({100, {}});
    return connection_->engine_.readable(id_);
  }
  void consume(std::size_t n) override {
    if (connection_ == nullptr || n == 0) return;
    connection_->engine_.consume(id_, n);
    moved();
  }
  bool at_end() override { return connection_ != nullptr && connection_->engine_.at_end(id_); }

  void inform(const http::ResponseHead& head) override {
    if (connection_ == nullptr || responded_) return;
    connection_->engine_.respond(id_, checked(head), false);
    moved();
  }
  void respond(const http::ResponseHead& head) override {
    if (connection_ == nullptr || std::exchange(responded_, true)) return;
    no_body_ = http::has_no_body(head.status, request_.method);
    if (head.length && !no_body_) left_ = *head.length;
    http::ResponseHead own = checked(head);
    if (!http::has(own.fields, "date"))
      own.fields.push_back({"date", http::date_text(connection_->loop_.wall_time())});
    connection_->engine_.respond(id_, own, no_body_);
    moved();
  }
  std::size_t write(Bytes bytes) override {
    if (connection_ == nullptr || !responded_ || finished_) return 0;
    if (no_body_) return bytes.size();
    const Bytes wanted = bytes.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_)));
    const std::size_t n = connection_->engine_.write(id_, wanted);
    if (left_ != kUnknown) left_ -= n;
    blocked_ = n < wanted.size();
    if (n > 0) moved();
    return blocked_ ? n : bytes.size();
  }
  void finish() override {
    if (connection_ == nullptr || finished_) return;
    const bool cut = !responded_ || (left_ != kUnknown && left_ > 0 && !no_body_);
    if (cut) return abort();
    finished_ = true;
    connection_->engine_.finish(id_);
    moved();
  }
  void abort() override {
    if (connection_ != nullptr) std::exchange(connection_, nullptr)->leave(id_);
  }
  std::unique_ptr<Duplex> switch_protocol(const http::ResponseHead&) override { return nullptr; }

 private:
  friend class Http2Connection;
  static constexpr std::uint64_t kUnknown = UINT64_MAX;

  void moved() {
    since_ = connection_->loop_.now();
    connection_->loop_.run_later(connection_->task_);
  }
  static http::ResponseHead checked(const http::ResponseHead& head) {
    http::ResponseHead out = head;
    http::remove_hop_by_hop(out.fields);
    std::erase_if(out.fields, [](const http::Field& f) {
      return f.name == "content-length" || !http::is_token(f.name) ||
             !http::is_field_value(f.value);
    });
    if (head.status == 204 || head.status < 200) out.length.reset();
    return out;
  }
  // The client's turn, for too long.
  bool stalled(Instant now) const {
    if (blocked_) return now - since_ >= limits::kHttpResponseStall;
    const h2::Server& engine = connection_->engine_;
    const Duration most = responded_ ? limits::kHttpResponseStall : limits::kHttpBodyStall;
    return !expects_ && request_.has_body && engine.readable(id_).empty() &&
           !engine.at_end(id_) && now - since_ >= most;
  }

  Http2Connection* connection_;  // null: it is over
  const h2::StreamId id_;
  Instant since_;                // something moved
  std::uint64_t left_ = kUnknown;
  bool expects_, responded_ = false, no_body_ = false, finished_ = false, blocked_ = false;
};

Http2Connection::Http2Connection(io::Loop& loop, HttpHandler& handler,
                                 std::unique_ptr<Duplex> stream)
    : loop_(loop),
      handler_(handler),
      stream_(std::move(stream)),
      engine_(h2::ServerSettings{}),
      timer_(loop, Delegate<void()>::to<&Http2Connection::on_timer>(this)),
      task_(Delegate<void()>::to<&Http2Connection::run>(this)),
      provoked_(limits::kHttpProvokedResetsPerSecond, limits::kHttpProvokedResets, loop.now()),
      since_(loop.now()) {
  stream_->set_listener(this);
}

Http2Connection::~Http2Connection() {
  Witness::tell(witness_);
  for (auto& [id, exchange] : exchanges_) exchange->connection_ = nullptr;
  stream_->set_listener(nullptr);
  if (!over_ && !lingers_) stream_->abort();
}

void Http2Connection::start() {
  stream_->start();
  timer_.set(since_ + limits::kHttpHeadDeadline);
}

void Http2Connection::drain() {
  if (std::exchange(draining_, true)) return;
  engine_.go_away(kNoError);
  loop_.run_later(task_);
}

void Http2Connection::on_failed(const Error& error) {
  if (!failure_) failure_ = error;
  advance();
}

// Whatever woke us; from the loop alone.
void Http2Connection::advance() {
  if (over_) return;
  const Witness witness(witness_);
  if (!failure_ && !lingers_) {
    take_input();
    if (!take_events(witness)) return;
  }
  const bool all_out = failure_ || push();
  // What the last push() brought about: nothing else wakes us for it.
  const bool more = !failure_ && !lingers_ && engine_.has_events();
  if (more) loop_.run_later(task_);
  if (!failure_ && !lingers_ && !more && all_out && exchanges_.empty() &&
      (engine_.over() || (draining_ && engine_.open() == 0))) {
    lingers_ = true;
    lingers_since_ = since_ = loop_.now();
    timer_.set(since_ + limits::kHttpLinger);
    stream_->finish();
    unflushed_ = !stream_->flushed();
  }
  if (lingers_) {
    for (Bytes b = stream_->readable(); !b.empty(); b = stream_->readable())
      stream_->consume(b.size());
    over_ = stream_->at_end() && stream_->flushed();
  }
  if (failure_) {
    over_ = true;
    stream_->abort();
    if (!part_all(witness, *failure_)) return;
  }
  if (!over_) return;
  timer_.stop();
  handler_.on_connection_over();  // may destroy this
}

// While the client does not take what is for it, nothing more is read: answers to floods of PING
// and SETTINGS would pile up.
void Http2Connection::take_input() {
  while (out_.empty() && !engine_.over()) {
    const Bytes in = stream_->readable();
    if (in.empty()) break;
    const Bytes piece = in.first(std::min(in.size(), kFeedBytes));
    engine_.feed(piece);
    stream_->consume(piece.size());
    if (!push()) break;
  }
  if (stream_->readable().empty() && stream_->at_end() && !failure_) {
    failure_ = Error{ECONNRESET, "the client has ended the connection"};
  }
}

// False: `this` is gone.
bool Http2Connection::take_events(const Witness& witness) {
  for (const h2::ServerEvent& event : engine_.take_events()) {
    if (const auto* over = std::get_if<h2::ServerOver>(&event)) {
      if (!part_all(witness, Error{EPROTO, over->why})) return false;
      continue;
    }
    on_event(event);
    if (witness.destroyed()) return false;
  }
  return true;
}

void Http2Connection::on_event(const h2::ServerEvent& event) {
  if (const auto* came = std::get_if<h2::RequestCame>(&event)) return on_request(*came);
  if (const auto* reset = std::get_if<h2::RequestReset>(&event))
    return part(reset->id, Error{ECONNRESET, "the client has given the request up"});
  const auto* body = std::get_if<h2::RequestBody>(&event);
  const auto* room = std::get_if<h2::ResponseRoom>(&event);
  const auto found = exchanges_.find(body != nullptr ? body->id : room->id);
  if (found == exchanges_.end()) return;
  Http2Exchange& exchange = *found->second;
  exchange.since_ = loop_.now();
  if (room != nullptr) exchange.blocked_ = false;
  if (exchange.listener_ == nullptr) return;
  if (body != nullptr) return exchange.listener_->on_body();
  exchange.listener_->on_writable();
}

void Http2Connection::on_request(const h2::RequestCame& came) {
  // Once: were it set by every request, a client that goes on asking would never stall.
  if (std::exchange(first_, false)) timer_.set(loop_.now() + kStallTick);
  http::RequestHead request = came.head;
  const bool continues = http::lists(request.fields, "expect", "100-continue");
  const bool unknown = !continues && http::has(request.fields, "expect");
  std::erase_if(request.fields, [](const http::Field& f) { return f.name == "expect"; });
  const bool has_body = request.has_body;
  auto exchange = std::make_unique<Http2Exchange>(*this, came.id, std::move(request),
                                                  continues && has_body);
  exchanges_.emplace(came.id, exchange.get());
  int status = came.too_long ? 431 : 0;
  if (status == 0 && unknown) status = 417;
  if (status == 0 && (exchange->request().authority.empty() ||
                      !http::request_fault(exchange->request()).empty()))
    status = 400;
  if (status == 0) return handler_.on_request(std::move(exchange));  // may destroy this
  exchange->respond({status, {}, 0});
  exchange->finish();
}

void Http2Connection::leave(h2::StreamId id) {
  exchanges_.erase(id);
  engine_.release(id);
  since_ = loop_.now();
  loop_.run_later(task_);
}

void Http2Connection::part(h2::StreamId id, const Error& why) {
  const auto found = exchanges_.find(id);
  if (found == exchanges_.end()) return;
  Http2Exchange& exchange = *found->second;
  exchange.connection_ = nullptr;
  leave(id);
  if (exchange.listener_ != nullptr) exchange.listener_->on_gone(why);
}

// False: `this` is gone.
bool Http2Connection::part_all(const Witness& witness, const Error& why) {
  while (!exchanges_.empty()) {
    part(exchanges_.begin()->first, why);
    if (witness.destroyed()) return false;
  }
  return true;
}

// Whether the stream has taken all there is.
bool Http2Connection::push() {
  while (true) {
    if (out_.empty()) {
      if (lingers_) return true;
      out_ = as_text(engine_.drain(limits::kHttpSendBytes));
      if (const std::size_t n = engine_.take_provoked(); n > 0) {
        if (provoked_.available(loop_.now()) < n) engine_.go_away(kEnhanceYourCalm);
        provoked_.take(n);
      }
      if (out_.empty()) return true;
      since_ = loop_.now();
    }
    const std::size_t n = stream_->write(as_bytes(out_).subspan(out_at_));
    if (n > 0) since_ = loop_.now();
    out_at_ += n;
    if (out_at_ < out_.size()) return false;
    out_ = {};
    out_at_ = 0;
  }
}

void Http2Connection::on_timer() {
  const Witness witness(witness_);
  const Instant now = loop_.now();
  if (lingers_) {
    // What is still within the end below is no less in need of its time.
    const bool was_unflushed = std::exchange(unflushed_, !stream_->flushed());
    if ((was_unflushed || unflushed_) && now - lingers_since_ < limits::kHttpResponseStall)
      return timer_.set(now + limits::kHttpLinger);
    over_ = true;
    handler_.on_connection_over();  // may destroy this
    return;
  }
  if (!end_stalled(witness)) return;
  cut_left();
  const Duration quiet = now - since_;
  if (!out_.empty()) {
    if (quiet >= limits::kHttpResponseStall) failure_ = Error{ETIMEDOUT, "the client has stalled"};
  } else if (exchanges_.empty() &&
             quiet >= (first_ ? limits::kHttpHeadDeadline : limits::kHttpKeepAliveIdle)) {
    drain();
  }
  timer_.set(now + kStallTick);
  loop_.run_later(task_);
}

// Finished responses that the client does not take. Nobody else waits for them.
void Http2Connection::cut_left() {
  std::map<h2::StreamId, Left> now_left;
  for (const auto& [id, sent] : engine_.left()) {
    const auto found = left_.find(id);
    const bool stuck = found != left_.end() && found->second.sent == sent;
    const Left left{sent, stuck ? found->second.since : loop_.now()};
    if (loop_.now() - left.since >= limits::kHttpResponseStall) engine_.cut(id);
    now_left.emplace(id, left);
  }
  left_ = std::move(now_left);
}

bool Http2Connection::end_stalled(const Witness& witness) {
  std::vector<h2::StreamId> stalled;
  for (const auto& [id, exchange] : exchanges_)
    if (exchange->stalled(loop_.now())) stalled.push_back(id);
  for (const h2::StreamId id : stalled) {
    part(id, Error{ETIMEDOUT, "the client has stalled"});
    if (witness.destroyed()) return false;
  }
  return true;
}

}  // namespace adit::flow
