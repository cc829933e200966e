#include "service/edge/edge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>

#include "service/edge/farewell.h"
#include "service/edge/forward.h"
#include "service/edge/visitor_hello.h"
#include "service/probe/probe.h"

namespace adit::service {

namespace {

// With our time (RFC 9110 §6.6.1), by which a peer can tell that its clock is wrong.
std::string plain_http_answer(WallTime now) {
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = static_cast<std::time_t>(now.seconds());
  std::tm t{};
  ::gmtime_r(&seconds, &t);
  const std::string date =
      fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday,
                  kMonths[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
  return "HTTP/1.1 400 Bad Request\r\nDate: " + date +
         "\r\nContent-Type: text/plain\r\nContent-Length: 41\r\n"
         "Connection: close\r\n\r\nThis port speaks TLS: use https:// here.\n";
}

Edge::Counters make_counters(Metrics& m) {
  const auto refused = [&m](std::string_view reason) -> Counter& {
    return m.counter("adit_visitors_refused_total", "reason=\"" + std::string(reason) + "\"");
  };
  return {m.counter("adit_visitors_accepted_total"),
          refused("address_limit"),
          refused("half_open_limit"),
          refused("visitor_limit"),
          m.counter("adit_accept_errors_total"),
          m.counter("adit_visitors_routed_total", "to=\"static\""),
          m.counter("adit_visitors_routed_total", "to=\"agent\""),
          m.counter("adit_upstream_dial_failures_total"),
          m.counter("adit_visitor_bytes_total", "direction=\"in\""),
          m.counter("adit_visitor_bytes_total", "direction=\"out\""),
          m.gauge("adit_visitors_open")};
}

std::optional<std::uint32_t> thread_hint(const ClientHello& hello) {
  for (const std::string& name : hello.alpn) {
    if (!name.starts_with(route::kAlpnThreadPrefix)) continue;
    const char* from = name.data() + route::kAlpnThreadPrefix.size();
    const char* to = name.data() + name.size();
    std::uint32_t out = 0;
    const auto read = std::from_chars(from, to, out);
    if (read.ec == std::errc{} && read.ptr == to) return out;
  }
  return std::nullopt;
}

}  // namespace

struct Edge::Listener {
  Listener(Edge& e, io::Socket s)
      : edge(e),
        socket(std::move(s)),
        port(e.loop_.local_address(socket).port),
        accept(io::Op::Handler::to<&Listener::on_accepted>(this)),
        pause(e.loop_, Delegate<void()>::to<&Listener::start>(this)) {}

  void start() { edge.loop_.accept(accept, socket); }
  void on_accepted(const io::Completion& c) { edge.on_accepted(*this, c); }

  Edge& edge;
  io::Socket socket;
  std::uint16_t port;
  io::Op accept;
  io::Timer pause;
};

Edge::Edge(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics,
           const EdgeLimits& limits, const route::RouterTable& table,
           std::vector<StaticUpstreams> upstreams, AgentDoor& agents)
    : loop_(loop),
      resolver_(resolver),
      log_(log),
      metrics_(metrics),
      limits_(limits),
      table_(table),
      agents_(agents),
      counters_(make_counters(metrics)),
      bulk_(loop),
      journal_(limits.first_visitor, limits.journal) {
  set_upstreams(std::move(upstreams));
}

Edge::~Edge() {
  listeners_.clear();
  hellos_.clear();
  forwards_.clear();
  farewells_.clear();
}

void Edge::listen(io::Socket listener) {
  listeners_.push_back(std::make_unique<Listener>(*this, std::move(listener)));
  listeners_.back()->start();
}

void Edge::close_listeners() { listeners_.clear(); }

void Edge::set_upstreams(std::vector<StaticUpstreams> upstreams) {
  for (auto& old : upstreams_) retired_upstreams_.push_back(std::move(old));
  upstreams_.clear();
  for (auto& u : upstreams) upstreams_.push_back(std::make_unique<StaticUpstreams>(std::move(u)));
  if (forwards_.size() == 0) retired_upstreams_.clear();
}

void Edge::abort_all() {
  hellos_.clear();
  forwards_.clear();
  farewells_.clear();
}

// --- accept --------------------------------------------------------------------------------------

void Edge::on_accepted(Listener& listener, const io::Completion& c) {
  if (c.result >= 0) {
    counters_.accepted.add();
    admit(loop_.adopt(c.result), listener.port);
    if (!c.more) listener.start();
    return;
  }
  if (c.result == -ECANCELED) return;
  counters_.accept_errors.add();
  // Out of descriptors or memory: it passes, and until then trying again at once would only burn
  // time. Whatever else it is, the relay does not stop accepting for it.
  if (const auto held = once_.admit(loop_.now(), static_cast<std::uint64_t>(-c.result));
      held >= 0) {
    log_.warn("edge.accept_failed",
              {{"error", errno_error(-c.result, "accept").what}, {"suppressed", held}});
  }
  if (!c.more) listener.pause.set(loop_.now() + limits::kAcceptPause);
}

void Edge::enter(const Address& peer) { ++per_address_[peer.ip]; }

void Edge::leave(const Address& peer) {
  const auto found = per_address_.find(peer.ip);
  CHECK(found != per_address_.end());
  if (--found->second == 0) per_address_.erase(found);
}

bool Edge::is_balancer(const IpAddress& ip) const {
  return std::ranges::any_of(limits_.proxy_from,
                             [&ip](const IpPrefix& p) { return p.contains(ip); });
}

// Of one that has entered.
bool Edge::over_address_limit(const Address& peer) {
  if (per_address_[peer.ip] <= limits_.visitors_per_address) return false;
  counters_.refused_address.add();
  log_once(peer, "edge.address_limit", {}, "more connections than one address may have");
  return true;
}

bool Edge::let_in(const io::Socket& socket, const Address& peer) {
  enter(peer);
  bool fits = is_balancer(peer.ip) || !over_address_limit(peer);
  if (fits && hellos_.size() + forwards_.size() >= limits_.visitors) {
    fits = false;
    counters_.refused_total.add();
    log_once(peer, "edge.visitor_limit", {}, "as many visitors as this thread may have");
  }
  if (fits) return true;
  // Not worth a TLS record: a flood would get an answer for each packet.
  loop_.abort_on_close(socket);
  leave(peer);
  return false;
}

void Edge::admit(io::Socket socket, std::uint16_t local_port) {
  const Address peer = loop_.peer_address(socket);
  if (!let_in(socket, peer)) return;
  if (hellos_.size() >= limits_.half_open) {
    // The oldest has had the most time; a flood pushes itself out.
    VisitorHello& oldest = *hellos_.oldest();
    counters_.refused_half_open.add();
    log_once(oldest.peer_, "edge.half_open_limit", {}, "too many connections without a hello");
    leave(oldest.peer_);
    hellos_.erase(oldest);
  }
  hellos_.add(std::make_unique<VisitorHello>(*this, std::move(socket), peer, local_port))
      .start(loop_.now() + limits_.hello_deadline);
}

// --- route ---------------------------------------------------------------------------------------

void Edge::on_hello(Visitor visitor, const ClientHello& hello) {
  const std::vector<std::string_view> alpn(hello.alpn.begin(), hello.alpn.end());
  route::RouteQuery query;
  query.transport = route::Transport::Tcp;
  query.local_port = visitor.local.port;
  if (!hello.sni.empty()) query.sni = hello.sni;
  query.alpn = alpn;
  query.source = visitor.peer.ip;
  const route::Destination destination = route::decide(table_, query);
  // The relay's own, and nobody else's: it passes the agent's list of visitors.
  visitor.probe = alpn.size() == 1 && alpn.front() == kAlpnProbe && !visitor.destination &&
                  visitor.peer.ip == loop_.local_address(visitor.socket).ip;
  if (!std::holds_alternative<route::Link>(destination) && !visitor.probe) {
    VisitorRecord record = record_of(visitor);
    for (const std::string_view protocol : alpn) {
      if (record.alpn.size() > VisitorJournal::kTextBytesMax) break;
      record.alpn += (record.alpn.empty() ? "" : ",") + std::string(protocol);
    }
    record.decision = route::describe(destination);
    visitor.tag = journal_.begin(std::move(record));
  }

  if (const auto* agent = std::get_if<route::AgentName>(&destination)) {
    counters_.routed_agent.add();
    visitor.local = visitor.destination.value_or(loop_.local_address(visitor.socket));
    leave(visitor.peer);  // counted again where it is pumped, which may be another thread
    return agents_.visit(std::move(visitor), agent->key);
  }
  if (const auto* fixed = std::get_if<route::StaticRoute>(&destination))
    return forward_static(std::move(visitor), fixed->index);

  if (std::holds_alternative<route::Link>(destination)) {
    visitor.local = visitor.destination.value_or(loop_.local_address(visitor.socket));
    leave(visitor.peer);  // links have bounds of their own
    return agents_.link(std::move(visitor), thread_hint(hello));
  }

  if (std::holds_alternative<route::RelayHttps>(destination)) {
    visitor.local = visitor.destination.value_or(loop_.local_address(visitor.socket));
    journal_.leads_to(visitor.tag, "the relay's own site");
    journal_.end(visitor.tag, "taken by the relay itself", loop_.wall_time());
    return agents_.own_site(std::move(visitor));
  }
  if (const auto* challenge = std::get_if<route::AcmeChallenge>(&destination)) {
    if (challenge->owner == route::ChallengeOwner::Agent) {
      counters_.routed_agent.add();
      visitor.local = visitor.destination.value_or(loop_.local_address(visitor.socket));
      visitor.challenge = true;
      leave(visitor.peer);
      return agents_.visit(std::move(visitor), challenge->key);
    }
    const Address peer = visitor.peer;
    if (agents_.challenge(visitor, challenge->name)) return leave(peer);
  }

  // Rows whose service is not part of this build answer as an unknown protocol or name would.
  std::string_view reason = "unknown_name";
  TlsAlert alert = TlsAlert::UnrecognizedName;
  if (const auto* none = std::get_if<route::NoMatch>(&destination)) {
    reason = route::name(none->reason);
  } else if (std::holds_alternative<route::AcmeChallenge>(destination)) {
    reason = "no_application_protocol";
    alert = TlsAlert::NoApplicationProtocol;
  }
  log_once(visitor.peer, "edge.no_route", hello.sni, reason, visitor.tag);
  turn_away(std::move(visitor.socket), visitor.peer, alert, reason, hello.sni, visitor.tag);
}

void Edge::forward_static(Visitor visitor, std::size_t index) {
  CHECK(index < upstreams_.size());
  Forward& forward = forwards_.add(std::make_unique<Forward>(*this, std::move(visitor)));
  forward.dial(*upstreams_[index]);
}

void Edge::pump(Visitor visitor, std::unique_ptr<flow::Duplex> far) {
  enter(visitor.peer);
  forwards_.add(std::make_unique<Forward>(*this, std::move(visitor))).pump(std::move(far));
}

void Edge::turn_away(Visitor visitor, TlsAlert alert, std::string_view reason) {
  if (!visitor.speaks_tls) {
    count_refused(reason);
    journal_.end(visitor.tag, "refused: " + std::string(reason), loop_.wall_time());
    return loop_.abort_on_close(visitor.socket);
  }
  enter(visitor.peer);
  turn_away(std::move(visitor.socket), visitor.peer, alert, reason, visitor.sni, visitor.tag);
}

void Edge::turn_away(io::Socket socket, const Address& peer, TlsAlert alert,
                     std::string_view reason, std::string_view, const VisitorTag& tag) {
  count_refused(reason);
  journal_.end(tag, "refused: " + std::string(reason), loop_.wall_time());
  farewell(std::move(socket), peer).say(fatal_alert(alert));
}

Farewell& Edge::farewell(io::Socket socket, const Address& peer) {
  if (farewells_.size() >= limits_.half_open) farewells_.erase(*farewells_.oldest());
  return farewells_.add(std::make_unique<Farewell>(*this, std::move(socket), peer));
}

void Edge::refuse_hello(io::Socket socket, const Address& peer, HelloFault fault) {
  count_refused("bad_hello");
  Farewell& last = farewell(std::move(socket), peer);
  if (fault == HelloFault::PlainHttp)
    return last.say(as_bytes(plain_http_answer(loop_.wall_time())));
  if (const auto description = alert(fault)) return last.say(fatal_alert(*description));
  last.say({});
}

// --- saying so -----------------------------------------------------------------------------------

void Edge::count_refused(std::string_view reason) {
  metrics_.counter("adit_visitors_refused_total", "reason=\"" + std::string(reason) + "\"").add();
}

void Edge::log_once(const Address& peer, std::string_view event, std::string_view sni,
                    std::string_view detail, const VisitorTag& tag) {
  const std::uint64_t key =
      AddressHash{}(peer.ip) ^ (std::hash<std::string_view>{}(event) * 0x9e3779b97f4a7c15u);
  const auto held = once_.admit(loop_.now(), key);
  if (held < 0) return;
  if (tag.id != 0) {
    log_.info(event, {{"visitor", visitor_id_text(tag.id)}, {"peer", peer.ip.text()}, {"sni", sni},
                      {"detail", detail}, {"suppressed", held}});
    return;
  }
  log_.info(event,
            {{"peer", peer.ip.text()}, {"sni", sni}, {"detail", detail}, {"suppressed", held}});
}

// --- the record ----------------------------------------------------------------------------------

VisitorRecord Edge::record_of(const Visitor& visitor) const {
  VisitorRecord record;
  record.id = visitor.tag.id;
  record.at = loop_.wall_time();
  record.source = visitor.peer;
  record.sni = visitor.sni;
  return record;
}

void Edge::note(Visitor& visitor, std::string decision) {
  VisitorRecord record = record_of(visitor);
  record.decision = std::move(decision);
  visitor.tag = journal_.begin(std::move(record));
}

void Edge::adopt(Visitor& visitor, const std::string& pattern) {
  if (visitor.probe) return;
  VisitorRecord record = record_of(visitor);
  record.decision = "agent key=" + pattern + ", from another thread";
  visitor.tag = journal_.adopt(std::move(record));
}

bool Edge::forecast(std::size_t route, std::vector<std::string>& facts) const {
  if (route >= upstreams_.size()) return false;
  const StaticUpstreams& upstreams = *upstreams_[route];
  bool any = false;
  for (std::size_t i = 0; i < upstreams.to.size(); ++i) {
    const bool out = upstreams.health.out(i, loop_.now());
    any = any || !out;
    facts.push_back("upstream " + upstreams.to[i].text() +
                    (out ? ": out, after " + std::to_string(upstreams.health.failures(i)) +
                               " failures in a row"
                         : ": in use"));
  }
  return any;
}

}  // namespace adit::service
