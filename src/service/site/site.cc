#include "service/site/site.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/limits.h"
#include "flow/head_exchange.h"
#include "flow/tcp_stream.h"
#include "flow/tls_stream.h"
#include "flow/ws_stream.h"
#include "proto/ws/handshake.h"
#include "service/tunnel/ws_link.h"

namespace adit::service {

namespace {

// For an answer to be taken, and the client's end to come back.
constexpr Duration kAnswerDeadline = 5s;

constexpr std::string_view kWelcome =
    "This is an adit relay. The names below it lead to services of its agents.\n";

std::string response(int status, std::string_view reason, std::string_view body,
                     std::string_view more = {}) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
  out.append(reason).append("\r\nContent-Type: text/plain; charset=utf-8\r\n");
  out.append("Content-Length: ").append(std::to_string(body.size()));
  out.append("\r\nCache-Control: no-store\r\nConnection: close\r\n").append(more);
  return out.append("\r\n").append(body);
}

std::optional<std::uint32_t> thread_of(std::string_view target) {
  constexpr std::string_view kKey = "?thread=";
  const std::size_t at = target.find(kKey);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view digits = target.substr(at + kKey.size());
  std::uint32_t out = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return read.ec == std::errc{} ? std::optional(out) : std::nullopt;
}

}  // namespace

// One connection: TLS and the request's head, then a WebSocket handed on, or an answer and the end.
class SiteVisit final : public ListNode<SiteVisit>, private flow::DuplexListener {
 public:
  SiteVisit(Site& site, const Address& peer, std::string sni)
      : site_(site),
        peer_(peer),
        sni_(std::move(sni)),
        deadline_(site.loop_, Delegate<void()>::to<&SiteVisit::end>(this)) {}
  ~SiteVisit() {
    if (stream_ != nullptr) stream_->set_listener(nullptr);
    site_.edge_.leave(peer_);
  }

  void start(std::unique_ptr<flow::Duplex> stream) {
    exchange_ = std::make_unique<flow::HeadExchange>(
        site_.loop_, std::move(stream), http1::HeadReader::Kind::Request, std::string(),
        site_.loop_.now() + limits::kHttpHeadDeadline,
        flow::HeadExchange::Done::to<&SiteVisit::on_head>(this));
  }

 private:
  void on_head(Result<http1::Head> head) {
    stream_ = exchange_->take();
    if (!head) {
      const int code = head.error().code;
      if (code == EPROTO) return answer(response(400, "Bad Request", head.error().what + "\n"));
      if (code == EMSGSIZE)
        return answer(response(431, "Request Header Fields Too Large", "the head is too long\n"));
      return end();
    }
    const std::string_view target = head->target;
    const std::string_view path = target.substr(0, target.find('?'));
    if (path == kWsLinkPath) return on_link(*head);
    const bool page = path == "/" && (head->method == "GET" || head->method == "HEAD");
    if (!page) return answer(response(404, "Not Found", "there is nothing here\n"));
    std::string text = response(200, "OK", kWelcome);
    if (head->method == "HEAD") text.resize(text.size() - kWelcome.size());
    answer(std::move(text));
  }

  void on_link(const http1::Head& head) {
    if (!ws::asks_for_websocket(head)) {
      return answer(response(426, "Upgrade Required", "agents link here by WebSocket\n",
                             "Upgrade: websocket\r\n"));
    }
    auto accepted = ws::accept_response(head, kWsLinkProtocol);
    if (!accepted) {
      const bool version = accepted.error().code == 426;
      return answer(response(accepted.error().code, version ? "Upgrade Required" : "Bad Request",
                             accepted.error().what + "\n",
                             version ? "Sec-WebSocket-Version: 13\r\n" : ""));
    }
    // A few hundred bytes behind a TLS handshake: taken at once, or the peer is gone already.
    if (stream_->write(as_bytes(*accepted)) != accepted->size()) return end();
    auto inside = std::make_unique<flow::WsStream>(site_.loop_, std::move(stream_),
                                                   ws::Role::Server);
    site_.metrics_.counter("adit_site_requests_total", "kind=\"link\"").add();
    site_.door_.link_inside(std::move(inside), peer_, sni_, thread_of(head.target));
    end();
  }

  void answer(std::string text) {
    site_.metrics_.counter("adit_site_requests_total", "kind=\"other\"").add();
    text_ = std::move(text);
    stream_->set_listener(this);
    stream_->start();
    deadline_.set(site_.loop_.now() + kAnswerDeadline);
    on_writable();
  }

  // What the client sends behind its request is read and dropped, so that no reset overtakes the
  // answer.
  void on_readable() override {
    while (!stream_->readable().empty()) stream_->consume(stream_->readable().size());
    if (stream_->at_end() && stream_->flushed()) end();
  }
  void on_writable() override {
    sent_ += stream_->write(as_bytes(text_).subspan(sent_));
    if (sent_ < text_.size()) return;
    if (!std::exchange(finished_, true)) stream_->finish();
    if (stream_->at_end() && stream_->flushed()) end();
  }
  void on_failed(const Error&) override { end(); }
  void end() { site_.visits_.erase(*this); }  // destroys this

  Site& site_;
  const Address peer_;
  const std::string sni_;
  std::unique_ptr<flow::HeadExchange> exchange_;
  std::unique_ptr<flow::Duplex> stream_;  // behind the head
  std::string text_;
  std::size_t sent_ = 0;
  bool finished_ = false;
  io::Timer deadline_;
};

class SiteBridge final : public ListNode<SiteBridge> {
 public:
  SiteBridge(Site& site, io::Socket near, std::unique_ptr<flow::Duplex> far)
      : site_(site),
        pump_(site.loop_, site.bulk_, site.bridge_limits_,
              std::make_unique<flow::TcpStream>(site.loop_, std::move(near)), std::move(far),
              flow::Pump::Done::to<&SiteBridge::on_done>(this)) {
    pump_.start();
  }

 private:
  void on_done(flow::PumpEnd) { site_.bridges_.erase(*this); }

  Site& site_;
  flow::Pump pump_;
};

Site::Site(io::Loop& loop, Log& log, Metrics& metrics, Edge& edge, SiteDoor& door,
           const crypto::TlsContext& tls)
    : loop_(loop),
      log_(log),
      metrics_(metrics),
      edge_(edge),
      door_(door),
      tls_(&tls),
      bulk_(loop) {}

Site::~Site() = default;

void Site::bridge(io::Socket near, std::unique_ptr<flow::Duplex> far) {
  if (bridges_.size() >= limits::kSiteVisitsMax) return;  // closes both
  bridges_.add(std::make_unique<SiteBridge>(*this, std::move(near), std::move(far)));
}

void Site::abort_all() { visits_.clear(); }

void Site::visit(Visitor visitor) {
  // The oldest has had the most time; a flood pushes itself out.
  if (visits_.size() >= limits::kSiteVisitsMax) visits_.erase(*visits_.oldest());
  SiteVisit& visit =
      visits_.add(std::make_unique<SiteVisit>(*this, visitor.peer, std::move(visitor.sni)));
  auto session = crypto::TlsSession::server(*tls_);
  if (!session) {
    log_.error("site.tls", {{"what", session.error().what}});
    return visits_.erase(visit);
  }
  auto tcp = std::make_unique<flow::TcpStream>(loop_, std::move(visitor.socket),
                                               std::move(visitor.early));
  visit.start(std::make_unique<flow::TlsStream>(loop_, std::move(tcp), std::move(*session)));
}

}  // namespace adit::service
