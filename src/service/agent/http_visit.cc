#include "service/agent/http_visit.h"

#include "base/limits.h"
#include "service/agent/http_forward.h"
#include "service/agent/http_texts.h"

namespace adit::service {

HttpVisit::HttpVisit(HttpService& service, const ProxiedConnection& from, std::uint64_t visit,
                     std::string sni, std::unique_ptr<flow::TlsStream> stream, Done done)
    : service_(service),
      from_(from),
      visit_(visit),
      sni_(std::move(sni)),
      done_(done),
      connection_(
          flow::HttpConnection::over_tls(service.around().loop, *this, std::move(stream))) {}

HttpVisit::~HttpVisit() = default;

void HttpVisit::on_request(std::unique_ptr<flow::HttpExchange> exchange) {
  service_.around().metrics.counter("adit_agent_http_requests_total").add();
  if (!service_.has_name(host_of(exchange->request().authority))) {
    note(exchange->request(), "421: " + exchange->request().authority +
                                  " is none of the service's names");
    const HttpPage page = misdirected_page(visitor_id_text(visit_));
    exchange->respond(page.head);
    static_cast<void>(exchange->write(as_bytes(page.body)));
    return exchange->finish();
  }
  forwards_.add(std::make_unique<HttpForward>(*this, std::move(exchange))).start();
}

void HttpVisit::on_connection_over() {
  connection_over_ = true;
  if (forwards_.size() == 0) done_();
}

void HttpVisit::on_forward_over(HttpForward& forward) {
  forwards_.erase(forward);
  if (connection_over_ && forwards_.size() == 0) done_();
}

void HttpVisit::note(const http::RequestHead& request, std::string_view outcome) {
  const HttpSurroundings& around = service_.around();
  const WallTime now = around.loop.wall_time();
  const std::string asked = request.method + " https://" + request.authority + request.target;
  const VisitorTag tag = around.journal.adopt({.id = visit_,
                                               .at = now,
                                               .source = from_.source,
                                               .sni = sni_,
                                               .alpn = request.version == 2 ? "h2" : "http/1.1",
                                               .decision = asked,
                                               .destination = service_.to().text(),
                                               .outcome = {}});
  around.journal.end(tag, outcome, now);
  around.metrics.counter("adit_agent_http_failures_total").add();
  if (const auto held = around.once.admit(around.loop.now(), visit_); held >= 0)
    around.log.warn("agent.http_failed", {{"visitor", visitor_id_text(visit_)},
                                          {"request", asked.substr(0, 200)},
                                          {"why", std::string(outcome)},
                                          {"suppressed", held}});
}

}  // namespace adit::service
