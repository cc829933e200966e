#include "flow/http1_connection.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

namespace adit::flow {

using Step = http1::MessageReader::Step;

class Http1Exchange final : public HttpExchange {
 public:
  Http1Exchange(Http1Connection& connection, http::RequestHead request)
      : HttpExchange(std::move(request)), connection_(&connection) {}
  ~Http1Exchange() override {
    if (connection_ != nullptr) connection_->leave(finished_);
  }

  Bytes readable() override { return connection_ == nullptr ? Bytes{} : connection_->body(); }
  void consume(std::size_t n) override {
    if (connection_ != nullptr) connection_->consume(n);
  }
  bool at_end() override {
    if (connection_ == nullptr) return ended_;
    connection_->pull();
    return connection_->request_done_;
  }
  void inform(const http::ResponseHead& head) override {
    if (connection_ != nullptr) connection_->inform(head);
  }
  void respond(const http::ResponseHead& head) override {
    if (connection_ != nullptr) connection_->respond(head);
  }
  std::size_t write(Bytes bytes) override {
    return connection_ == nullptr ? 0 : connection_->write(bytes);
  }
  void finish() override {
    finished_ = true;
    if (connection_ != nullptr) connection_->finish();
  }
  void abort() override {
    if (connection_ == nullptr) return;
    std::exchange(connection_, nullptr)->leave(false);
  }
  std::unique_ptr<Duplex> switch_protocol(const http::ResponseHead& head) override {
    return connection_ == nullptr ? nullptr : connection_->switch_protocol(head);
  }

 private:
  friend class Http1Connection;

  Http1Connection* connection_;  // null: it is over
  bool finished_ = false;
  bool ended_ = false;           // of the request's body, once the connection has gone on
};

Http1Connection::Http1Connection(io::Loop& loop, HttpHandler& handler,
                                 std::unique_ptr<Duplex> stream, std::string_view scheme)
    : loop_(loop),
      handler_(handler),
      stream_(std::move(stream)),
      scheme_(scheme),
      reader_(http1::MessageReader::Kind::Request),
      timer_(loop, Delegate<void()>::to<&Http1Connection::on_timer>(this)),
      task_(Delegate<void()>::to<&Http1Connection::advance>(this)),
      since_(loop.now()) {
  stream_->set_listener(this);
}

Http1Connection::~Http1Connection() {
  Witness::tell(witness_);
  if (exchange_ != nullptr) exchange_->connection_ = nullptr;
  if (stream_ == nullptr) return;
  stream_->set_listener(nullptr);
  // What is not said to the end must not look as if it were.
  if (phase_ == Phase::Serving) stream_->abort();
}

void Http1Connection::start() {
  stream_->start();
  timer_.set(deadline());
}

void Http1Connection::drain() {
  draining_ = true;
  loop_.run_later(task_);
}

void Http1Connection::on_failed(const Error& error) {
  if (!failure_) failure_ = error;
  advance();
}

void Http1Connection::fail(Error why) {
  if (!failure_) failure_ = std::move(why);
  loop_.run_later(task_);
}

// Whatever woke us; from the loop alone.
void Http1Connection::advance() {
  const Witness witness(witness_);
  unsigned requests = 0;
  while (step(witness)) {
    if (witness.destroyed()) return;
    if (phase_ == Phase::Head && ++requests == limits::kHttpRequestsPerTurnMax) {
      loop_.run_later(task_);
      break;
    }
  }
  if (witness.destroyed()) return;
  if (phase_ != Phase::Over) return timer_.set(deadline());
  timer_.stop();
  if (std::exchange(told_, true)) return;
  handler_.on_connection_over();  // may destroy this
}

// False: nothing more to do now. After it `this` may be gone.
bool Http1Connection::step(const Witness& witness) {
  if (phase_ == Phase::Over) return false;
  if (failure_) {
    break_off(witness);
    return true;
  }
  flush();
  switch (phase_) {
    case Phase::Head:
      if (draining_ && !reader_.started()) {
        linger();
        return true;
      }
      return read_head();
    case Phase::Serving: return serve(witness);
    case Phase::Linger:
      for (Bytes b = stream_->readable(); !b.empty(); b = stream_->readable())
        stream_->consume(b.size());
      if (stream_->at_end() && stream_->flushed()) phase_ = Phase::Over;
      return false;
    case Phase::Over: break;
  }
  return false;
}

Instant Http1Connection::deadline() const {
  switch (phase_) {
    case Phase::Head:
      return since_ + (first_ || reader_.started() ? limits::kHttpHeadDeadline
                                                   : limits::kHttpKeepAliveIdle);
    case Phase::Serving:
      if (!out_.empty() || blocked_) return since_ + limits::kHttpResponseStall;
      if (!request_done_ && run_left_ == 0 && !expects_)
        return since_ + (head_sent_ ? limits::kHttpResponseStall : limits::kHttpBodyStall);
      break;
    case Phase::Linger: return since_ + limits::kHttpLinger;
    case Phase::Over: break;
  }
  return Instant::never();
}

void Http1Connection::on_timer() {
  if (loop_.now() >= deadline()) {
    if (phase_ == Phase::Linger) {
      // What is still within the end below is no less in need of its time.
      const bool was_unflushed = std::exchange(unflushed_, !stream_->flushed());
      const bool waits = loop_.now() - lingers_since_ < limits::kHttpResponseStall;
      if ((was_unflushed || unflushed_) && waits) {
        since_ = loop_.now();
      } else {
        phase_ = Phase::Over;
      }
    } else if (phase_ == Phase::Serving) {
      fail(Error{ETIMEDOUT, "the client has stalled"});
    } else if (reader_.started()) {
      refuse(408, "the head did not come in time");
    } else {
      linger();
    }
  }
  advance();
}

// The client or the owner has given up, or the client has broken the protocol.
void Http1Connection::break_off(const Witness& witness) {
  const Error why = *std::exchange(failure_, std::nullopt);
  Http1Exchange* left = std::exchange(exchange_, nullptr);
  const bool can_say = why.code == EBADMSG && phase_ == Phase::Serving && !head_sent_;
  if (!can_say) {
    phase_ = Phase::Over;
    stream_->abort();
  }
  if (left != nullptr) {
    left->connection_ = nullptr;
    if (left->listener_ != nullptr) left->listener_->on_gone(why);
  }
  if (!witness.destroyed() && can_say) refuse(400, why.what);
}

void Http1Connection::linger() {
  phase_ = Phase::Linger;
  lingers_since_ = since_ = loop_.now();
  stream_->finish();
  unflushed_ = !stream_->flushed();
}

// --- the request's head --------------------------------------------------------------------------

bool Http1Connection::read_head() {
  while (true) {
    const Bytes in = stream_->readable();
    if (in.empty()) {
      if (!stream_->at_end()) return false;
      linger();  // between requests or within a head: there is nobody to tell
      return true;
    }
    if (!reader_.started()) since_ = loop_.now();
    const Step step = reader_.read(in);
    if (step == Step::Malformed) {
      refuse(reader_.fault_status(), reader_.fault());
      return true;
    }
    stream_->consume(reader_.used());
    if (step == Step::TooLong) {
      refuse(431, "the head is too long");
      return true;
    }
    if (step != Step::Head) continue;
    begin(reader_.take_head());
    return true;
  }
}

void Http1Connection::begin(http1::Head head) {
  phase_ = Phase::Serving;
  since_ = loop_.now();
  first_ = head_sent_ = finished_ = blocked_ = request_done_ = expects_ = false;
  run_left_ = 0;
  keep_alive_ = head.keep_alive() && !draining_;
  minor_0_ = head.minor_version == 0;
  to_head_ = head.method == "HEAD";
  const bool continues = head.lists("expect", "100-continue");
  const bool unknown = !continues && http::has(head.fields, "expect");
  auto request = http1::request_of(std::move(head), scheme_);
  if (!request) return refuse(400, request.error().what);
  if (unknown) return refuse(417, "an Expect that is not 100-continue");
  request->length = reader_.length();
  request->has_body = reader_.chunked() || reader_.length().value_or(0) > 0;
  std::erase_if(request->fields, [](const http::Field& f) {
    return f.name == "content-length" || f.name == "transfer-encoding" || f.name == "expect";
  });
  end_told_ = !request->has_body;
  if (!request->has_body) pull();
  expects_ = continues && !minor_0_ && request->has_body;
  auto exchange = std::make_unique<Http1Exchange>(*this, std::move(*request));
  exchange_ = exchange.get();
  handler_.on_request(std::move(exchange));  // may destroy this
}

// Of a request that is none, or cannot be served: nothing behind it can be understood.
void Http1Connection::refuse(int status, std::string_view why) {
  // Nothing is known of it, and what is left of the request before is not about it.
  if (phase_ == Phase::Head) {
    to_head_ = minor_0_ = expects_ = blocked_ = false;
    run_left_ = 0;
    since_ = loop_.now();
  }
  phase_ = Phase::Serving;
  keep_alive_ = head_sent_ = finished_ = false;
  request_done_ = true;
  const std::string text = std::string(why) + "\n";
  respond({status, {{"content-type", "text/plain; charset=utf-8"}}, text.size()});
  static_cast<void>(write(as_bytes(text)));
  finish();
}

// --- a request under way -------------------------------------------------------------------------

bool Http1Connection::serve(const Witness& witness) {
  if (finished_) {
    if (!out_.empty()) return false;
    complete();
    return true;
  }
  const auto over = [this] {
    return finished_ || failure_ || exchange_ == nullptr || phase_ != Phase::Serving;
  };
  if (exchange_ == nullptr) return failure_.has_value();
  if (blocked_ && out_.empty() && !stream_full_ && exchange_->listener_ != nullptr) {
    blocked_ = false;
    since_ = loop_.now();
    exchange_->listener_->on_writable();
    if (witness.destroyed()) return false;
    if (over()) return true;
  }
  if (!expects_) pull();
  if (failure_) return true;
  if ((run_left_ > 0 || (request_done_ && !end_told_)) && exchange_->listener_ != nullptr) {
    end_told_ = request_done_;
    exchange_->listener_->on_body();
    if (witness.destroyed()) return false;
    if (over()) return true;
  }
  if (!request_done_ || !stream_->readable().empty() || !stream_->at_end()) return false;
  fail(Error{ECONNRESET, "the client has ended the connection"});
  return true;
}

// The response is out. What came of a body that nobody wanted is dropped; where more of it is to
// come, the connection has no further use.
void Http1Connection::complete() {
  if (exchange_ != nullptr) {
    exchange_->ended_ = request_done_;
    std::exchange(exchange_, nullptr)->connection_ = nullptr;
  }
  while (!request_done_ && !expects_ && !failure_) {
    const Bytes rest = body();
    if (rest.empty()) break;
    consume(rest.size());
  }
  if (!request_done_ || !keep_alive_ || draining_) {
    failure_.reset();
    return linger();
  }
  reader_.next();
  phase_ = Phase::Head;
  since_ = loop_.now();
}

// Reads on until there is a run of the body, or its end.
void Http1Connection::pull() {
  while (phase_ == Phase::Serving && !request_done_ && run_left_ == 0 && !failure_) {
    const Bytes in = stream_->readable();
    const Step step = reader_.read(in);
    if (step == Step::Malformed || step == Step::TooLong) {
      return fail(Error{EBADMSG, step == Step::TooLong ? "a chunk's line or trailers too long"
                                                       : reader_.fault()});
    }
    run_left_ = step == Step::Body ? reader_.body().size() : 0;
    request_done_ = step == Step::End;
    if (reader_.used() > 0) {
      since_ = loop_.now();
      stream_->consume(reader_.used() - run_left_);
    }
    if (step != Step::More || !in.empty()) continue;
    if (stream_->at_end())
      fail(Error{ECONNRESET, "the client has ended the connection within its request"});
    return;
  }
}

Bytes Http1Connection::body() {
  if (expects_ && !head_sent_) inform({100, {}});
  expects_ = false;
  pull();
  if (run_left_ == 0) return {};
  const Bytes in = stream_->readable();
  return in.first(std::min(in.size(), run_left_));
}

void Http1Connection::consume(std::size_t n) {
  CHECK(n <= run_left_);
  if (n == 0) return;
  since_ = loop_.now();
  run_left_ -= n;
  stream_->consume(n);
  if (run_left_ == 0) loop_.run_later(task_);  // there may be more, or the end
}

void Http1Connection::leave(bool finished) {
  exchange_ = nullptr;
  if (!finished) fail(Error{ECANCELED, "the response was given up"});
  loop_.run_later(task_);
}

// --- the response --------------------------------------------------------------------------------

namespace {

std::string head_text(const http::ResponseHead& head) {
  std::string out = "HTTP/1.1 " + std::to_string(head.status) + " ";
  out.append(http::reason(head.status)).append("\r\n");
  for (const http::Field& f : head.fields) {
    // What came from elsewhere must not write our head.
    if (!http::is_token(f.name) || !http::is_field_value(f.value)) continue;
    out.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  return out;
}

}  // namespace

void Http1Connection::inform(const http::ResponseHead& head) {
  if (head_sent_ || minor_0_ || out_.size() > limits::kHttpSendBytes) return;
  out_ += head_text(head) + "\r\n";
  loop_.run_later(task_);
}

void Http1Connection::respond(const http::ResponseHead& head) {
  if (std::exchange(head_sent_, true)) return;
  if (expects_) keep_alive_ = false;  // the client may send the body or not (RFC 9110 §10.1.1)
  framing_ = Framing::Chunked;
  if (http::has_no_body(head.status, to_head_ ? "HEAD" : "")) {
    framing_ = Framing::None;
  } else if (head.length) {
    framing_ = Framing::Length;
    length_left_ = *head.length;
  } else if (minor_0_) {
    framing_ = Framing::Close;
    keep_alive_ = false;
  }
  http::ResponseHead own{head.status, head.fields};
  http::remove_hop_by_hop(own.fields);
  std::erase_if(own.fields, [](const http::Field& f) { return f.name == "content-length"; });
  out_ += head_text(own);
  if (!http::has(own.fields, "date"))
    out_.append("date: ").append(http::date_text(loop_.wall_time())).append("\r\n");
  if (head.length && head.status != 204)
    out_.append("content-length: ").append(std::to_string(*head.length)).append("\r\n");
  if (framing_ == Framing::Chunked) out_ += "transfer-encoding: chunked\r\n";
  if (!keep_alive_) out_ += "connection: close\r\n";
  if (keep_alive_ && minor_0_) out_ += "connection: keep-alive\r\n";
  out_ += "\r\n";
  loop_.run_later(task_);
}

std::size_t Http1Connection::write(Bytes bytes) {
  if (!head_sent_ || finished_ || failure_ || bytes.empty()) return 0;
  if (framing_ == Framing::None) return bytes.size();
  if (out_.size() + bytes.size() > limits::kHttpSendBytes) flush();
  std::size_t dropped = 0;
  if (framing_ == Framing::Length && bytes.size() > length_left_) {
    dropped = bytes.size() - static_cast<std::size_t>(length_left_);
    bytes = bytes.first(static_cast<std::size_t>(length_left_));
  }
  std::size_t n = 0;
  const std::size_t used = out_.size();
  if (framing_ == Framing::Chunked || used > 0) {
    constexpr std::size_t kChunkFrame = 16;  // its size and two line ends
    const std::size_t room = limits::kHttpSendBytes - std::min(limits::kHttpSendBytes,
                                                               used + kChunkFrame);
    n = std::min(bytes.size(), room);
    if (framing_ == Framing::Chunked && n > 0) {
      char size[kChunkFrame];
      const auto end = std::to_chars(size, size + sizeof size, n, 16).ptr;
      out_.append(size, end).append("\r\n");
    }
    out_ += as_text(bytes.first(n));
    if (framing_ == Framing::Chunked && n > 0) out_ += "\r\n";
    loop_.run_later(task_);
  } else if (!bytes.empty() && !stream_full_) {
    n = stream_->write(bytes);
    stream_full_ = n < bytes.size();
  }
  if (framing_ == Framing::Length) length_left_ -= n;
  if (n > 0) since_ = loop_.now();
  blocked_ = n < bytes.size();
  return blocked_ ? n : n + dropped;
}

void Http1Connection::finish() {
  if (finished_ || failure_) return;
  if (!head_sent_ || (framing_ == Framing::Length && length_left_ > 0))
    return fail(Error{ECANCELED, "the response was given up"});
  if (framing_ == Framing::Chunked) out_ += "0\r\n\r\n";
  finished_ = true;
  loop_.run_later(task_);
}

void Http1Connection::flush() {
  if (!out_.empty()) {
    if (stream_full_) return;
    const std::size_t n = stream_->write(as_bytes(out_));
    if (n > 0) since_ = loop_.now();
    stream_full_ = n < out_.size();
    if (stream_full_) {
      out_.erase(0, n);
      return;
    }
  }
  out_ = {};  // an idle connection holds no buffer
}

std::unique_ptr<Duplex> Http1Connection::switch_protocol(const http::ResponseHead& head) {
  if (phase_ != Phase::Serving || head_sent_ || !request_done_ || minor_0_ || failure_)
    return nullptr;
  flush();
  if (!out_.empty()) return nullptr;
  std::string text = head_text(head);
  if (head.status == 101) text += "connection: upgrade\r\n";
  text += "\r\n";
  head_sent_ = true;
  // A few hundred bytes where all before them is taken: there is room, or the client is gone.
  if (stream_->write(as_bytes(text)) != text.size()) {
    fail(Error{ECONNRESET, "no room for a response's head"});
    return nullptr;
  }
  std::exchange(exchange_, nullptr)->connection_ = nullptr;
  phase_ = Phase::Over;
  loop_.run_later(task_);
  stream_->set_listener(nullptr);
  return std::move(stream_);
}

}  // namespace adit::flow
