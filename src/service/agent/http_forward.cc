#include "service/agent/http_forward.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/limits.h"
#include "service/agent/http_texts.h"

namespace adit::service {

namespace {

using Step = http1::MessageReader::Step;

constexpr std::size_t kChunkBytes = 16 * 1024;
constexpr HttpTrouble kRefused{502, "refused the connection"};
constexpr HttpTrouble kUnreachable{502, "could not be reached"};
constexpr HttpTrouble kNotInTime{504, "did not answer in time"};
constexpr HttpTrouble kNoConnection{504, "did not take the connection in time"};
constexpr HttpTrouble kBrokeOff{502, "broke off before its answer was complete"};
constexpr HttpTrouble kGarbage{502, "answered something that is not HTTP"};
constexpr HttpTrouble kTooMany{503, "has too many requests under way"};
constexpr HttpTrouble kNoProxy{501, "is not a proxy"};

// RFC 9110 §9.2.2: may be sent again by itself.
bool may_repeat(const http::RequestHead& request) {
  constexpr std::string_view kMethods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"};
  return !request.has_body && std::ranges::find(kMethods, request.method) != std::end(kMethods);
}

}  // namespace

HttpForward::HttpForward(HttpVisit& visit, std::unique_ptr<flow::HttpExchange> exchange)
    : visit_(visit),
      service_(visit.service_),
      exchange_(std::move(exchange)),
      upgrade_(asks_for_upgrade(exchange_->request())),
      reader_(http1::MessageReader::Kind::Response, limits::kServiceHeadBytesMax),
      timer_(service_.around().loop, Delegate<void()>::to<&HttpForward::on_timer>(this)) {
  exchange_->set_listener(this);
}

HttpForward::~HttpForward() {
  if (local_ != nullptr) local_->set_listener(nullptr);
  if (entered_) service_.leave();
}

void HttpForward::start() {
  entered_ = service_.enter();
  if (!entered_) return trouble(kTooMany, "503: over the bound of requests under way");
  if (request().method == "CONNECT") return trouble(kNoProxy, "501: CONNECT");
  // A connection that its service is just closing takes a request and answers nothing. So only what
  // may be sent again goes over one.
  std::unique_ptr<flow::TcpStream> idle;
  if (may_repeat(request()) && !upgrade_) idle = service_.take_idle();
  if (idle == nullptr) return dial();
  reused_ = true;
  begin(std::move(idle));
}

void HttpForward::dial() {
  const HttpSurroundings& around = service_.around();
  dialer_.emplace(around.loop, around.resolver,
                  flow::Dialer::Done::to<&HttpForward::on_dialled>(this));
  dialer_->dial(service_.to(), Deadline::after(around.loop.now(), limits::kDialDeadline));
}

void HttpForward::on_dialled(Result<io::Socket> socket) {
  if (socket) {
    auto stream = std::make_unique<flow::TcpStream>(service_.around().loop, std::move(*socket));
    return begin(std::move(stream));
  }
  const Error& error = socket.error();
  service_.around().metrics.counter("adit_agent_dial_failures_total").add();
  const bool late = error.code == ETIMEDOUT;
  const HttpTrouble& what =
      late ? kNoConnection : error.code == ECONNREFUSED ? kRefused : kUnreachable;
  const std::string why = std::to_string(what.status) + ": the local service: " + error.what;
  trouble(what, why);
}

void HttpForward::begin(std::unique_ptr<flow::TcpStream> stream) {
  local_ = std::move(stream);
  local_->set_listener(&listener_);
  local_->start();
  if (request().method == "HEAD") reader_.answers_head();
  out_ = forwarded_head(request(), visit_.from_.source.ip, upgrade_);
  out_at_ = 0;
  moved();
  timer_.set(since_ + service_.answer_within());
  up();
}

void HttpForward::moved() { since_ = service_.around().loop.now(); }

// --- the request ---------------------------------------------------------------------------------

bool HttpForward::flush() {
  if (out_at_ < out_.size()) {
    const std::size_t n = local_->write(as_bytes(out_).subspan(out_at_));
    if (n > 0) moved();
    out_at_ += n;
    if (out_at_ < out_.size()) return false;
  }
  out_.clear();
  out_at_ = 0;
  return true;
}

void HttpForward::up() {
  if (local_ == nullptr || sent_) return;
  const bool chunked = request().has_body && !request().length;
  while (flush()) {
    if (!request().has_body || last_) {
      sent_ = true;
      return;
    }
    const Bytes body = exchange_->readable();
    if (body.empty()) {
      if (!exchange_->at_end()) return;
      last_ = true;
      if (chunked) out_ = "0\r\n\r\n";
      continue;
    }
    std::size_t n = std::min(body.size(), kChunkBytes);
    if (chunked) {
      char size[16];
      const auto at = std::to_chars(size, size + sizeof size, n, 16).ptr;
      out_.assign(size, at).append("\r\n").append(as_text(body.first(n))).append("\r\n");
    } else {
      n = local_->write(body);
    }
    exchange_->consume(n);
    visit_.bytes_in_ += n;
    if (n > 0) moved();
    if (!chunked && n < body.size()) return;
  }
}

// --- the response --------------------------------------------------------------------------------

void HttpForward::down() {
  while (local_ != nullptr) {
    const Bytes in = local_->readable();
    if (run_left_ > 0) {
      const Bytes body = in.first(std::min(in.size(), run_left_));
      if (body.empty()) {
        if (local_->at_end()) ended();
        return;
      }
      const std::size_t n = exchange_->write(body);
      local_->consume(n);
      run_left_ -= n;
      visit_.bytes_out_ += n;
      if (n > 0) moved();
      if (n < body.size()) return;
      continue;
    }
    heard_ = heard_ || !in.empty();
    const Step step = reader_.read(in);
    if (step == Step::Malformed || step == Step::TooLong)
      return trouble(kGarbage, "502: the local service's answer: " +
                                   (step == Step::TooLong ? "its head is too long"
                                                          : reader_.fault()));
    run_left_ = step == Step::Body ? reader_.body().size() : 0;
    local_->consume(reader_.used() - run_left_);
    if (step == Step::Head) {
      if (!on_head()) return;
    } else if (step == Step::End) {
      if (responded_) return finished();
      reader_.next();  // behind an interim response
      if (request().method == "HEAD") reader_.answers_head();
    } else if (step == Step::More && in.empty()) {
      if (local_->at_end()) ended();
      return;
    }
  }
}

// False: `this` may be gone.
bool HttpForward::on_head() {
  http1::Head head = reader_.take_head();
  moved();
  if (head.status == 101) {
    switch_over(std::move(head));
    return false;
  }
  const std::optional<std::uint64_t> length = reader_.length();
  http::Fields fields = head.fields;
  http::remove_hop_by_hop(fields);
  if (head.status < 200) {
    // Whether the client is to send its body was said by whoever read it.
    if (head.status != 100) exchange_->inform({head.status, std::move(fields)});
    return true;
  }
  responded_ = true;
  keep_alive_ = head.keep_alive() && !reader_.until_close();
  exchange_->respond({head.status, std::move(fields), length});
  return true;
}

void HttpForward::switch_over(http1::Head head) {
  if (!upgrade_) return trouble(kGarbage, "502: the local service changes the protocol unasked");
  std::string protocol(http::field(head.fields, "upgrade"));
  http::remove_hop_by_hop(head.fields);
  if (!protocol.empty()) head.fields.push_back({"upgrade", std::move(protocol)});
  auto stream = exchange_->switch_protocol({101, std::move(head.fields)});
  if (stream == nullptr) return end();
  const HttpSurroundings& around = service_.around();
  timer_.stop();
  pump_ = std::make_unique<flow::Pump>(
      around.loop, around.bulk, around.pump_limits, std::move(stream), std::move(local_),
      flow::Pump::Done::to<&HttpForward::on_pumped>(this));
  pump_->start();
}

void HttpForward::finished() {
  exchange_->finish();
  const bool again = keep_alive_ && sent_ && local_->readable().empty() && !local_->at_end() &&
                     !local_->broken();
  if (again) service_.keep(std::move(local_));
  end();
}

// The local service has ended the connection in order, which may be the response's end.
void HttpForward::ended() {
  if (run_left_ == 0 && heard_ && reader_.end() == Step::End) return finished();
  broke(Error{0, "it ended the connection"});
}

void HttpForward::broke(const Error& error) {
  if (!heard_ && std::exchange(reused_, false)) {
    local_->set_listener(nullptr);
    local_.reset();
    sent_ = last_ = false;
    return dial();
  }
  trouble(kBrokeOff, (responded_ ? "cut: the local service broke off within its response: "
                                 : "502: the local service broke off before its response: ") +
                         error.what);
}

void HttpForward::trouble(const HttpTrouble& what, const std::string& why) {
  visit_.note(request(), why);
  if (responded_) {
    exchange_->abort();
    return end();
  }
  const HttpPage page = trouble_page(request(), what, visitor_id_text(visit_.visit_));
  exchange_->respond(page.head);
  static_cast<void>(exchange_->write(as_bytes(page.body)));  // a page has room
  exchange_->finish();
  end();
}

void HttpForward::on_timer() {
  // A response that has begun may pause as long as a connection may.
  const Duration patience = responded_ ? limits::kVisitorIdle : service_.answer_within();
  const bool client = !sent_ && out_.empty() && exchange_->readable().empty();
  const Instant now = service_.around().loop.now();
  if (client) moved();  // who is asked after by the server
  if (now < since_ + patience) return timer_.set(since_ + patience);
  const std::string said = responded_ ? "cut: the local service paused for too long"
                           : sent_    ? "504: the local service did not answer in time"
                                      : "504: the local service did not take the request in time";
  trouble(kNotInTime, said);
}

void HttpForward::end() { visit_.on_forward_over(*this); }

}  // namespace adit::service
