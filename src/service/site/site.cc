#include "service/site/site.h"

#include <charconv>
#include <optional>

#include "base/limits.h"
#include "flow/http_connection.h"
#include "flow/tcp_stream.h"
#include "flow/tls_stream.h"
#include "flow/ws_stream.h"
#include "proto/ws/handshake.h"
#include "service/node/node_site.h"
#include "service/tunnel/ws_link.h"

namespace adit::service {

namespace {

constexpr std::string_view kWelcome =
    "This is an adit relay. The names below it lead to services of its agents.\n";

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

// One connection: TLS and the requests in it; one of them may hand it on as a WebSocket.
class SiteVisit final : public ListNode<SiteVisit>, private flow::HttpHandler {
 public:
  SiteVisit(Site& site, const Address& peer, std::string sni)
      : site_(site), peer_(peer), sni_(std::move(sni)) {}
  ~SiteVisit() { site_.edge_.leave(peer_); }

  void start(std::unique_ptr<flow::TlsStream> stream) {
    connection_ = flow::HttpConnection::over_tls(site_.loop_, *this, std::move(stream));
    connection_->start();
  }

 private:
  void on_request(std::unique_ptr<flow::HttpExchange> exchange) override {
    const http::RequestHead& head = exchange->request();
    const std::string_view target = head.target;
    const std::string_view path = target.substr(0, target.find('?'));
    if (path == kWsLinkPath) return on_link(*exchange);
    if (site_.node_ != nullptr && NodeSite::wants(target)) {
      site_.metrics_.counter("adit_site_requests_total", "kind=\"node\"").add();
      return site_.node_->serve(std::move(exchange));
    }
    const bool page = path == "/" && (head.method == "GET" || head.method == "HEAD");
    if (page) return answer(*exchange, 200, kWelcome);
    answer(*exchange, 404, "there is nothing here\n");
  }

  void on_link(flow::HttpExchange& exchange) {
    http1::Head head;
    head.method = exchange.request().method;
    head.target = exchange.request().target;
    head.minor_version = exchange.request().minor_version;
    head.fields = exchange.request().fields;
    if (!ws::asks_for_websocket(head))
      return answer(exchange, 426, "agents link here by WebSocket\n", {{"upgrade", "websocket"}});
    auto accepted = ws::accept_fields(head, kWsLinkProtocol);
    if (!accepted) {
      http::Fields more;
      if (accepted.error().code == 426) more.push_back({"sec-websocket-version", "13"});
      return answer(exchange, accepted.error().code, accepted.error().what + "\n",
                    std::move(more));
    }
    auto stream = exchange.switch_protocol({101, std::move(*accepted), {}});
    if (stream == nullptr) return answer(exchange, 400, "WebSocket needs HTTP/1.1\n");
    auto inside = std::make_unique<flow::WsStream>(site_.loop_, std::move(stream),
                                                   ws::Role::Server);
    site_.metrics_.counter("adit_site_requests_total", "kind=\"link\"").add();
    site_.door_.link_inside(std::move(inside), peer_, sni_, thread_of(head.target));
  }

  // Short enough for what a connection always takes; the exchange may go then.
  void answer(flow::HttpExchange& exchange, int status, std::string_view text,
              http::Fields fields = {}) {
    site_.metrics_.counter("adit_site_requests_total", "kind=\"other\"").add();
    fields.push_back({"content-type", "text/plain; charset=utf-8"});
    fields.push_back({"cache-control", "no-store"});
    exchange.respond({status, std::move(fields), text.size()});
    static_cast<void>(exchange.write(as_bytes(text)));
    exchange.finish();
  }

  void on_connection_over() override { site_.visits_.erase(*this); }  // destroys this

  Site& site_;
  const Address peer_;
  const std::string sni_;
  std::unique_ptr<flow::HttpConnection> connection_;
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
