#include "service/admin/admin_conversation.h"

#include <array>

namespace adit::service {
namespace {

// What a client may send behind its request, a body or another request, before it is cut off.
constexpr std::size_t kDroppedBytesMax = std::size_t{64} << 10;
constexpr Duration kFarewellDeadline = 2s;

struct Page {
  std::string_view path;  // with a slash at its end: the argument follows
  AdminPage page;
  bool for_metrics_door = false;
  bool is_order = false;
};
constexpr std::array kPages{
    Page{"/status", AdminPage::StatusJson},
    Page{"/status.txt", AdminPage::StatusText},
    Page{"/metrics", AdminPage::Metrics, true},
    Page{"/agents", AdminPage::AgentsJson},
    Page{"/agents.txt", AdminPage::AgentsText},
    Page{"/explain/", AdminPage::ExplainJson},
    Page{"/explain.txt/", AdminPage::ExplainText},
    Page{"/agents/kick/", AdminPage::Kick, false, true},
};

bool is_at(const Page& page, std::string_view path) {
  if (!page.path.ends_with('/')) return path == page.path;
  return path.size() > page.path.size() && path.starts_with(page.path);
}

std::string_view type_of(AdminPage page) {
  switch (page) {
    case AdminPage::StatusJson:
    case AdminPage::AgentsJson:
    case AdminPage::ExplainJson: return "application/json";
    case AdminPage::StatusText:
    case AdminPage::AgentsText:
    case AdminPage::ExplainText:
    case AdminPage::Kick: return "text/plain; charset=utf-8";
    // The version is part of Prometheus' text exposition format.
    case AdminPage::Metrics: return "text/plain; version=0.0.4; charset=utf-8";
  }
  return "text/plain";
}

std::string_view words_of(int code) {
  switch (code) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 422: return "Unprocessable Content";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    default: return "Unknown";
  }
}

}  // namespace

AdminConversation::AdminConversation(AdminListener& listener, io::Socket socket)
    : listener_(listener),
      loop_(listener.loop_),
      socket_(std::move(socket)),
      receive_(io::Op::Handler::to<&AdminConversation::on_receive>(this)),
      writable_(io::Op::Handler::to<&AdminConversation::on_writable>(this)),
      deadline_(loop_, Delegate<void()>::to<&AdminConversation::on_deadline>(this)) {}

void AdminConversation::start() {
  deadline_.set(loop_.now() + listener_.limits_.head_deadline);
  loop_.receive(receive_, socket_);
}

void AdminConversation::refuse_busy(io::Loop& loop, io::Socket socket) {
  const Reply busy{503, "too many connections; try again\n"};
  // Into an empty socket buffer: taken at once, or the client is gone.
  static_cast<void>(loop.send(socket, as_bytes(text_of(busy, true))));
}

void AdminConversation::on_receive(const io::Completion& c) {
  if (c.result < 0) return end();
  // A client may close its direction behind the request, and wait.
  if (c.result == 0) {
    if (state_ == State::Reading || state_ == State::Leaving) end();
    return;
  }
  if (!c.more) loop_.receive(receive_, socket_);
  if (state_ == State::Reading) return on_head(c.data);
  dropped_bytes_ += c.data.size();
  if (dropped_bytes_ > kDroppedBytesMax) end();
}

void AdminConversation::on_head(Bytes in) {
  switch (head_.feed(in)) {
    case RequestHead::Verdict::More: return;
    case RequestHead::Verdict::Done: return on_request();
    case RequestHead::Verdict::TooLong: return reply({431, "a request has at most 8 KiB here\n"});
    case RequestHead::Verdict::Malformed:
      return reply({400, "bad request: " + std::string(head_.fault()) + "\n"});
  }
}

void AdminConversation::on_request() {
  const bool get = head_.method() == "GET" || head_.method() == "HEAD";
  const bool metrics_only = listener_.door_ == AdminDoor::Metrics;
  for (const Page& page : kPages) {
    if (!is_at(page, head_.path()) || (metrics_only && !page.for_metrics_door)) continue;
    if (!listener_.source_.has(page.page)) break;
    if (page.is_order && head_.method() != "POST") return refuse_reading();
    if (!page.is_order && !get)
      return reply({.code = 405, .body = "this page is read: GET\n", .allow = "GET, HEAD"});
    const bool takes = page.path.ends_with('/');
    return ask(page.page, takes ? std::string(head_.path().substr(page.path.size())) : "");
  }
  const bool dry_run = head_.path() == "/reload/dry-run";
  if ((head_.path() == "/reload" || dry_run) && !metrics_only) {
    if (head_.method() == "POST") return reload(dry_run);
    return refuse_reading();
  }
  reply({404, metrics_only ? "no such page; there is GET /metrics\n"
                           : "no such page; there are GET /status, /agents and /explain/NAME (each"
                             " also as .txt) and /metrics, and POST /reload, /reload/dry-run and"
                             " /agents/kick/ID\n"});
}

void AdminConversation::refuse_reading() {
  reply({.code = 405, .body = "this is an order: POST\n", .allow = "POST"});
}

void AdminConversation::ask(AdminPage page, std::string argument) {
  enter(State::Asking);
  deadline_.set(loop_.now() + listener_.limits_.answer_deadline);
  question_.emplace(page, std::move(argument),
                    AdminQuestion::Answer::to<&AdminConversation::on_answer>(this));
  listener_.source_.ask(*question_);
}

void AdminConversation::on_answer(std::string body) {
  reply({200, std::move(body), type_of(question_->page())});
}

void AdminConversation::reload(bool dry_run) {
  AdminSource::Reloaded done = listener_.source_.reload(dry_run);
  reply({done.ok ? 200 : 422, std::move(done.text)});
}

void AdminConversation::reply(Reply reply) {
  enter(State::Sending);
  deadline_.set(loop_.now() + listener_.limits_.answer_deadline);
  out_ = text_of(reply, head_.method() != "HEAD");
  flush();
}

std::string AdminConversation::text_of(const Reply& reply, bool with_body) {
  std::string out = "HTTP/1.1 " + std::to_string(reply.code) + " ";
  out += words_of(reply.code);
  out += "\r\nContent-Type: ";
  out += reply.type;
  out += "\r\nContent-Length: " + std::to_string(reply.body.size());
  if (!reply.allow.empty()) out += "\r\nAllow: " + std::string(reply.allow);
  out += "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
  if (with_body) out += reply.body;
  return out;
}

void AdminConversation::on_writable(const io::Completion& c) {
  if (c.result < 0) return end();
  flush();
}

void AdminConversation::flush() {
  while (sent_ < out_.size()) {
    const auto n = loop_.send(socket_, as_bytes(std::string_view(out_).substr(sent_)));
    if (!n) return end();
    if (*n == 0) return loop_.poll(writable_, socket_.raw(), io::kWritable);
    sent_ += *n;
  }
  if (!receive_.armed()) return end();  // the client has closed its direction already
  enter(State::Leaving);
  loop_.shutdown_write(socket_);
  deadline_.set(loop_.now() + kFarewellDeadline);
}

void AdminConversation::on_deadline() {
  switch (state_) {
    case State::Reading:
      // Nothing said, nothing to answer: a port scan, or a health check of TCP.
      if (!head_.started()) return end();
      return reply({408, "the request was not complete in time\n"});
    case State::Asking:
      question_.reset();
      return reply({503, "no answer in time; try again\n"});
    case State::Sending:
    case State::Leaving: return end();
  }
}

OwnedList<AdminConversation>& AdminConversation::list() {
  switch (state_) {
    case State::Reading: return listener_.reading_;
    case State::Asking:
    case State::Sending: break;
    case State::Leaving: return listener_.leaving_;
  }
  return listener_.answering_;
}

void AdminConversation::enter(State state) {
  std::unique_ptr<AdminConversation> self = list().take(*this);
  state_ = state;
  list().add(std::move(self));
}

void AdminConversation::end() { list().erase(*this); }

}  // namespace adit::service
