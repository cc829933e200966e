#include "service/agent/local_service.h"

#include <algorithm>
#include <utility>

#include "crypto/certificate.h"
#include "crypto/key.h"
#include "flow/tcp_stream.h"
#include "flow/tls_stream.h"
#include "proto/tls_hello/tls_alert.h"
#include "service/edge/visitor_journal.h"

namespace adit::service {

namespace {
constexpr Duration kSelfSignedValidity = 24h * 397;
constexpr Duration kPartingDeadline = 5s;
// Of all relays; each asks once in seconds.
constexpr std::size_t kProbesAtOnceMax = 64;
}  // namespace

std::string_view kind_word(ServiceKind kind) {
  switch (kind) {
    case ServiceKind::Tls: return "tls";
    case ServiceKind::Tcp: return "tcp";
    case ServiceKind::Udp: return "udp";
  }
  return "unknown";
}

HostPort target_of(const LocalServiceSettings& service, std::uint16_t port) {
  HostPort to = service.to;
  if (service.ports && service.ports->contains(port))
    to.port = static_cast<std::uint16_t>(to.port + (port - service.ports->first));
  return to;
}

LocalServices::LocalServices(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics,
                             std::vector<LocalServiceSettings> services,
                             std::string self_signed_key_pem)
    : loop_(loop),
      resolver_(resolver),
      log_(log),
      metrics_(metrics),
      settings_(std::move(services)),
      self_signed_key_pem_(std::move(self_signed_key_pem)),
      tls_(settings_.size()),
      answers_(loop, metrics),
      bulk_(loop) {
  for (const LocalServiceSettings& s : settings_) {
    const HttpSurroundings around{loop_,    resolver_, log_,         once_,
                                  metrics_, bulk_,     pump_limits_, journal_};
    http_.push_back(s.http ? std::make_unique<HttpService>(around, s.to, s.answer_within)
                           : nullptr);
  }
}

LocalServices::~LocalServices() { abort_all(); }

Status LocalServices::load() {
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    const LocalServiceSettings& s = settings_[i];
    if (s.kind != ServiceKind::Tls || s.passthrough || s.certificate_pem.empty()) continue;
    auto context = crypto::TlsContext::server(tls_options(i, s.certificate_pem, s.key_pem));
    if (!context)
      return std::move(context).error().with("certificate of the service for " + s.to.text());
    tls_[i].context.emplace(std::move(*context));
    if (auto leaf = crypto::Certificate::from_pem(s.certificate_pem)) {
      tls_[i].not_after = leaf->not_after();
    }
  }
  auto ways = VisitorWays::open(loop_, log_, metrics_, settings_);
  if (!ways) return std::move(ways).error();
  ways_ = std::move(*ways);
  return {};
}

crypto::ServerTls LocalServices::tls_options(std::size_t service, const std::string& chain_pem,
                                             const std::string& key_pem) const {
  crypto::ServerTls tls;
  tls.certificate_chain_pem = chain_pem;
  tls.private_key_pem = key_pem;
  if (settings_[service].http) tls.alpn = {"h2", "http/1.1"};
  return tls;
}

void LocalServices::abort_all() {
  streams_.clear();
  probes_.clear();
  answers_.abort_all();
}

bool LocalServices::is_self_signed(std::size_t service) const {
  const LocalServiceSettings& s = settings_[service];
  return !s.passthrough && s.certificate_pem.empty() && !tls_[service].issued;
}

Status LocalServices::set_certificate(std::size_t service, const std::string& chain_pem) {
  auto context =
      crypto::TlsContext::server(tls_options(service, chain_pem, self_signed_key_pem_));
  if (!context) return std::move(context).error();
  tls_[service].context.emplace(std::move(*context));
  tls_[service].issued = true;
  if (const auto leaf = crypto::Certificate::from_pem(chain_pem))
    tls_[service].not_after = leaf->not_after();
  return {};
}

Status LocalServices::make_self_signed(std::size_t service) {
  Tls& of = tls_[service];
  auto key = crypto::PrivateKey::from_pem(self_signed_key_pem_);
  if (!key) return std::move(key).error();
  auto pem = crypto::self_signed(*key, of.names,
                                 WallTime{loop_.wall_time().ns - 3'600'000'000'000},
                                 kSelfSignedValidity);
  if (!pem) return std::move(pem).error().with("self-signed certificate");
  auto context = crypto::TlsContext::server(tls_options(service, *pem, self_signed_key_pem_));
  if (!context) return std::move(context).error();
  of.context.emplace(std::move(*context));
  of.not_after = (loop_.wall_time().ns + kSelfSignedValidity.count()) / 1'000'000'000;
  return {};
}

Status LocalServices::granted(ServiceNumber service, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    const LocalServiceSettings& s = settings_[i];
    if (s.number != service || s.kind != ServiceKind::Tls) continue;
    if (http_[i] != nullptr) http_[i]->add_names(names);
    if (s.passthrough || !s.certificate_pem.empty()) continue;
    // Several relays may grant different names; the certificate is for all of them.
    std::vector<std::string> all = tls_[i].names;
    for (const std::string& n : names)
      if (std::find(all.begin(), all.end(), n) == all.end()) all.push_back(n);
    if (all == tls_[i].names) continue;
    std::vector<std::string> before = std::exchange(tls_[i].names, std::move(all));
    // One that an authority has issued for some of the names is better for all of them.
    if (!tls_[i].issued) {
      if (Status made = make_self_signed(i); !made) {
        tls_[i].names = std::move(before);
        return made;
      }
    }
    if (listener_ != nullptr) listener_->on_names(i, tls_[i].names);
    if (!tls_[i].issued)
      log_.info("agent.self_signed", {{"service", s.to.text()}, {"name", names.front()}});
  }
  return {};
}

void LocalServices::serve(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end) {
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    if (settings_[i].number != preamble.service) continue;
    if (preamble.probe) return answer_probe(i, std::move(end));
    if (preamble.challenge && answers_.has(preamble.sni))
      return answers_.serve(preamble.sni, std::move(end));
    if (settings_[i].kind == ServiceKind::Udp) break;  // visitors of it are flows
    metrics_.counter("adit_agent_streams_total").add();
    const ProxiedConnection from{preamble.visitor, preamble.local};
    log_.debug("agent.visitor", {{"visitor", visitor_id_text(preamble.visit)},
                                 {"sni", preamble.sni}, {"to", settings_[i].to.text()}});
    const LocalServiceSettings& s = settings_[i];
    const VisitorTag tag = journal_.adopt(
        {.id = preamble.visit,
         .at = loop_.wall_time(),
         .source = preamble.visitor,
         .sni = preamble.sni,
         .alpn = {},
         .decision = std::string(s.http ? "http" : kind_word(s.kind)) + " service of this agent",
         .destination = target_of(s, preamble.local.port).text(),
         .outcome = {}});
    ServedStream& stream = streams_.add(
        std::make_unique<ServedStream>(*this, i, from, tag, preamble.sni, std::move(end)));
    // A challenge that nobody waits for; behind a service passed through that is its own matter.
    if (preamble.challenge && !settings_[i].passthrough)
      return stream.refuse(TlsAlert::NoApplicationProtocol);
    return stream.start();
  }
  metrics_.counter("adit_agent_unknown_service_total").add();
  end->abort();
}

void LocalServices::answer_probe(std::size_t service, std::unique_ptr<flow::Duplex> end) {
  using Certificate = ProbeAnswer::Certificate;
  Certificate certificate = Certificate::None;
  if (const std::int64_t end_of_life = tls_[service].not_after; end_of_life != 0)
    certificate =
        loop_.wall_time().seconds() > end_of_life ? Certificate::Expired : Certificate::Ok;
  if (probes_.size() >= kProbesAtOnceMax) probes_.erase(*probes_.oldest());
  const auto done = ProbeReply::Done::to<&LocalServices::on_probe_done>(this);
  probes_.add(std::make_unique<ProbeReply>(loop_, resolver_, std::move(end), done))
      .start(settings_[service].to, certificate);
}

ServedStream::ServedStream(LocalServices& owner, std::size_t service,
                           const ProxiedConnection& from, const VisitorTag& tag, std::string sni,
                           std::unique_ptr<flow::Duplex> end)
    : owner_(owner),
      service_(service),
      from_(from),
      tag_(tag),
      sni_(std::move(sni)),
      end_(std::move(end)) {
  owner_.metrics_.gauge("adit_agent_streams").add(1);
}

ServedStream::~ServedStream() {
  parting_.reset();
  if (end_ != nullptr) end_->set_listener(nullptr);
  owner_.metrics_.gauge("adit_agent_streams").add(-1);
  note_end("given up");  // unless its end was said before
}

void ServedStream::start() {
  if (owner_.http_[service_] != nullptr) return visit_http();
  const LocalServiceSettings& settings = owner_.settings_[service_];
  const HostPort to = target_of(settings, from_.destination.port);
  if (!settings.transparent) return dial(to, std::nullopt);
  auto way = owner_.ways_->way(io::Transport::Tcp, to, from_.source);
  if (!way) return on_dialled(std::move(way).error());
  hold_ = std::move(way->hold);
  dial(way->to, way->as);
}

void ServedStream::dial(const HostPort& to, const std::optional<Address>& as) {
  dialer_ = std::make_unique<flow::Dialer>(owner_.loop_, owner_.resolver_,
                                           flow::Dialer::Done::to<&ServedStream::on_dialled>(this));
  dialer_->dial(to, Deadline::after(owner_.loop_.now(), limits::kDialDeadline), as);
}

void ServedStream::on_dialled(Result<io::Socket> socket) {
  const LocalServiceSettings& settings = owner_.settings_[service_];
  if (!socket) {
    owner_.metrics_.counter("adit_agent_dial_failures_total").add();
    if (const auto held = owner_.once_.admit(owner_.loop_.now(), service_ + 1); held >= 0) {
      owner_.log_.warn("agent.service_unreachable", {{"visitor", visitor_id_text(tag_.id)},
                                                     {"to", settings.to.text()},
                                                     {"why", socket.error().what},
                                                     {"suppressed", held}});
    }
    note_end("the local service could not be reached: " + socket.error().what);
    return turn_away(TlsAlert::InternalError);
  }
  std::unique_ptr<flow::Duplex> near = std::move(end_);
  if (settings.kind == ServiceKind::Tls && !settings.passthrough) {
    auto session = tls_session();
    if (!session) {
      end_ = std::move(near);
      return turn_away(TlsAlert::InternalError);
    }
    near = std::make_unique<flow::TlsStream>(owner_.loop_, std::move(near), std::move(*session));
  }
  auto far = std::make_unique<flow::TcpStream>(owner_.loop_, std::move(*socket));
  // The first bytes of the connection: there is room. Where there is none it is broken, and the
  // pump says so.
  if (settings.proxy != ProxyHeader::None)
    static_cast<void>(far->write(settings.proxy == ProxyHeader::V1 ? proxy_header_v1(from_)
                                                                   : proxy_header_v2(from_)));
  pump_ = std::make_unique<flow::Pump>(
      owner_.loop_, owner_.bulk_, owner_.pump_limits_, std::move(near), std::move(far),
      flow::Pump::Done::to<&ServedStream::on_done>(this));
  dialer_.reset();
  pump_->start();
}

std::optional<crypto::TlsSession> ServedStream::tls_session() {
  auto& context = owner_.tls_[service_].context;
  auto session = context ? crypto::TlsSession::server(*context)
                         : Result<crypto::TlsSession>(Error{0, "no certificate yet"});
  if (session) return std::move(*session);
  note_end(session.error().what);
  return std::nullopt;
}

void ServedStream::visit_http() {
  auto session = tls_session();
  if (!session) return turn_away(TlsAlert::InternalError);
  auto tls = std::make_unique<flow::TlsStream>(owner_.loop_, std::move(end_), std::move(*session));
  http_ = std::make_unique<HttpVisit>(*owner_.http_[service_], from_, tag_.id, sni_,
                                      std::move(tls),
                                      HttpVisit::Done::to<&ServedStream::on_http_over>(this));
  http_->start();
}

void ServedStream::on_http_over() {
  note_end("over", http_->bytes_in(), http_->bytes_out());
  finish();
}

void ServedStream::note_end(std::string_view outcome, std::uint64_t bytes_in,
                            std::uint64_t bytes_out) {
  owner_.journal_.end(tag_, outcome, owner_.loop_.wall_time(), bytes_in, bytes_out);
}

// A visitor that speaks TLS waits for an answer of it either way: it gets an alert and not a bare
// reset.
void ServedStream::turn_away(TlsAlert alert) {
  dialer_.reset();
  if (owner_.settings_[service_].kind != ServiceKind::Tls) {
    end_->abort();
    return finish();
  }
  const auto record = fatal_alert(alert);
  static_cast<void>(end_->write(record));  // the first bytes of the stream: there is room
  end_->finish();
  parting_ = std::make_unique<Parting>(*this);
}

ServedStream::Parting::Parting(ServedStream& s)
    : stream(s), deadline(s.owner_.loop_, Delegate<void()>::to<&Parting::on_deadline>(this)) {
  deadline.set(s.owner_.loop_.now() + kPartingDeadline);
  s.end_->set_listener(this);
  s.end_->start();
}

void ServedStream::Parting::on_readable() {
  flow::Duplex& end = *stream.end_;
  while (!end.readable().empty()) end.consume(end.readable().size());
  if (end.at_end()) over();
}

void ServedStream::Parting::on_deadline() {
  stream.end_->abort();
  over();
}

void ServedStream::Parting::over() { stream.finish(); }

void ServedStream::on_done(flow::PumpEnd end) {
  const std::string_view outcome = end == flow::PumpEnd::Finished ? "both directions ended in order"
                                   : end == flow::PumpEnd::Idle ? "nothing moved for too long"
                                                                : "an end failed";
  note_end(outcome, pump_->forward_bytes(), pump_->backward_bytes());
  finish();
}

void ServedStream::finish() { owner_.streams_.erase(*this); }

}  // namespace adit::service
