#include "service/agent/uplink.h"

#include <algorithm>

#include "base/limits.h"
#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/key.h"
#include "service/tunnel/join_export.h"

namespace adit::service {

namespace {

std::uint64_t jitter_seed(const AgentShared& shared, const std::string& label) {
  if (shared.random_seed != 0) return shared.random_seed ^ std::hash<std::string>{}(label);
  return static_cast<std::uint64_t>(shared.loop.now().ns) ^ std::hash<std::string>{}(label);
}

// QUIC reports TLS alert N of a failed handshake as 0x100 + N (RFC 9001 §4.8); these are the alerts
// with which a certificate is refused (RFC 8446 §6.2).
bool is_certificate_alert(const flow::CarrierDown& down) {
  if (down.application || down.by_peer || down.code < 0x100) return false;
  const std::uint64_t alert = down.code - 0x100;
  return alert >= 42 && alert <= 48;
}

// Before a way is tried beside those before it. RFC 8305 §5 gives the preferred address 250 ms; so
// much QUIC has before TCP, and each address before the next. The WebSocket is for networks that do
// something to what is not HTTPS, which takes a while to show.
Duration head_start_before(LinkCarrier carrier) {
  return carrier == LinkCarrier::Ws ? Duration(1500ms) : Duration(250ms);
}
// Of one name: a relay has one or two.
constexpr std::size_t kAddressesMax = 8;
// While another than the best carries the session a better one is tried this often: within a minute
// of its recovery it is taken, or within two when there are two.
constexpr Duration kBetterEvery = 40s;

std::vector<LinkCarrier> ladder_of(CarrierChoice choice) {
  switch (choice) {
    case CarrierChoice::Auto: return {LinkCarrier::Quic, LinkCarrier::H2, LinkCarrier::Ws};
    case CarrierChoice::Quic: return {LinkCarrier::Quic};
    case CarrierChoice::H2: return {LinkCarrier::H2};
    case CarrierChoice::Ws: return {LinkCarrier::Ws};
  }
  return {};
}

std::string_view carrier_name(LinkCarrier carrier) {
  switch (carrier) {
    case LinkCarrier::Quic: return "quic";
    case LinkCarrier::H2: return "h2";
    case LinkCarrier::Ws: return "ws";
  }
  return "unknown";
}

constexpr std::string_view kNoAnswer = "no answer in time", kSilence = "silence";
constexpr std::string_view kOutrun = "another carrier was faster";

std::string why_of(const flow::CarrierDown& down) {
  if (down.timeout) return std::string(kNoAnswer);
  return down.reason.empty() ? "closed" : down.reason;
}

// A link that has been waiting for an answer this long is not called live any more; one that is
// lost is given up by its carrier (kLinkIdleTimeout).
constexpr Duration kSilenceSaid = 2s;

// Above this a carrier is good enough, whatever another might bring.
constexpr std::uint64_t kGoodRate = 10'000'000 / 8;
// What another carrier brings is counted for so long, and has to be half as much again. Where it is
// not, the next trial waits, twice as long each time.
constexpr Duration kTrial = 4s, kTrialPauseMin = 1min, kTrialPauseMax = 16min;

// A link that lived this long was a good one: the next failure starts the back-off anew.
constexpr Duration kGoodLink = 10s;

}  // namespace

Uplink::Uplink(const AgentShared& shared, RelayTarget target)
    : shared_(shared),
      target_(std::move(target)),
      label_(target_.address.text()),
      trust_(label_, target_.pin, shared.known_relays, shared.log),
      jitter_(jitter_seed(shared, label_)),
      request_(io::ResolveRequest::Handler::to<&Uplink::on_resolved>(this)),
      timer_(shared.loop, Delegate<void()>::to<&Uplink::attempt>(this)),
      head_start_(shared.loop, Delegate<void()>::to<&Uplink::on_head_start>(this)),
      better_(shared.loop, Delegate<void()>::to<&Uplink::on_better>(this)),
      judge_(shared.loop, Delegate<void()>::to<&Uplink::judge_trial>(this)),
      session_over_(shared.loop, Delegate<void()>::to<&Uplink::on_session_over>(this)) {}

Uplink::~Uplink() {
  if (session_) session_->detach();
}

void Uplink::start() { attempt(); }

void Uplink::stop() {
  timer_.stop();
  session_over_.stop();
  head_start_.stop();
  better_.stop();
  judge_.stop();
  request_.cancel();
  state_ = State::Stopped;
  for (auto& link : links_) link->close(link::CloseCode::Done, "the agent stops");
}

// Whoever waits tries again, and a link by an address that is not ours any more is replaced before
// its silence is noticed.
void Uplink::network_changed() {
  if (state_ == State::Waiting && !retry_after_) {
    delay_ = Duration{0};
    return timer_.set(shared_.loop.now());
  }
  if (live_ == nullptr || !live_->network_changed()) return;
  if (chosen_ != nullptr || links_.size() > 1) return;
  if (auto ok = open_link(live_->kind(), live_->address()); !ok)
    shared_.log.warn("agent.no_second_link", {{"relay", label_}, {"what", ok.error().what}});
}

std::string_view Uplink::state_name() const {
  switch (state_) {
    case State::Idle: return "idle";
    case State::Resolving: return "resolving";
    case State::Connecting: return "connecting";
    case State::Live: return silence() ? "silent" : "live";
    case State::Waiting: return "waiting";
    case State::Stopped: return "stopped";
  }
  return "unknown";
}

std::optional<flow::CarrierStats> Uplink::stats() const {
  if (!live()) return std::nullopt;
  return live_->carrier().stats();
}

std::optional<Duration> Uplink::silence() const {
  if (!live()) return std::nullopt;
  const Instant since = live_->unanswered_since();
  if (since == Instant::never() || shared_.loop.now() - since < kSilenceSaid) return std::nullopt;
  return shared_.loop.now() - since;
}

std::string Uplink::trouble() const {
  if (!live()) return trouble_;
  if (const auto silent = silence())
    return "no answer of the relay for " + std::to_string(*silent / 1s) + " s";
  const bool best = ladder_.empty() || live_->kind() == ladder_.front();
  return best ? std::string() : carrier_trouble_;
}

void Uplink::note_carrier(LinkCarrier carrier, std::string_view what) {
  carrier_trouble_ = "not by " + std::string(carrier_name(carrier)) + ": " + std::string(what);
  // Networks that pass no UDP say nothing about it.
  if (carrier == LinkCarrier::Quic && (what == kNoAnswer || what == kSilence))
    carrier_trouble_ += " (does a firewall drop UDP?)";
}

// --- one attempt ---------------------------------------------------------------------------------

// The name is looked up again each time: a relay that moved is found without a restart.
void Uplink::attempt() {
  state_ = State::Resolving;
  retry_after_.reset();
  shared_.resolver.resolve(request_, target_.address.host, target_.address.port,
                           Deadline::after(shared_.loop.now(), limits::kDialDeadline));
}

// The ways to the relay in the order in which they are tried, each with a head start before the
// next (Happy Eyeballs, for carriers too): every address by QUIC and by TCP, then by what passes
// most networks.
void Uplink::on_resolved(const Result<std::vector<Address>>& addresses) {
  ladder_ = ladder_of(shared_.carrier);
  std::vector<Address> to;
  if (addresses) {
    to.assign(addresses->begin(),
              addresses->begin() + static_cast<std::ptrdiff_t>(
                                       std::min(addresses->size(), kAddressesMax)));
  } else if (target_.proxy && shared_.carrier != CarrierChoice::Quic) {
    // Where everything goes through a proxy names are often its business alone.
    to = {Address{IpAddress{}, target_.address.port}};
    std::erase(ladder_, LinkCarrier::Quic);
  } else {
    return wait(addresses.error().what);
  }
  ways_.clear();
  for (const bool last : {false, true})
    for (const Address& address : to)
      for (const LinkCarrier carrier : ladder_)
        if ((carrier == LinkCarrier::Ws) == last) ways_.push_back({address, carrier});
  next_way_ = 0;
  last_error_ = "no address";
  state_ = State::Connecting;
  if (!try_next_way()) wait(last_error_);
}

// False: there is none that could be tried.
bool Uplink::try_next_way() {
  head_start_.stop();
  while (next_way_ < ways_.size()) {
    const auto [address, carrier] = ways_[next_way_++];
    auto ok = open_link(carrier, address);
    if (!ok) {
      last_error_ = ok.error().what;
      continue;
    }
    if (next_way_ < ways_.size())
      head_start_.set(shared_.loop.now() + head_start_before(ways_[next_way_].carrier));
    return true;
  }
  return false;
}

Status Uplink::open_link(LinkCarrier carrier, const Address& address) {
  auto tls = shared_.tls.by_key(carrier);
  if (!tls) return std::move(tls).error();
  RelayTrust::Mode mode = RelayTrust::Mode::ByKey;
  if (trust_.mode() == RelayTrust::Mode::WebPki) {
    auto web = shared_.tls.web_pki(carrier);
    if (web) {
      tls = web;
      mode = RelayTrust::Mode::WebPki;
    } else if (!trust_.certificate_failed()) {
      // No roots here to verify with, and nothing is remembered of the relay that could decide.
      return Error{0, "no CA certificates to verify the relay with"};
    }
  }
  UplinkLinkOptions options{carrier, **tls, mode, target_.name, target_.address, address};
  if (shared_.random_seed != 0) options.random_seed = jitter_.next() | 1;
  if (session_) options.affinity = affinity_;
  options.connections = shared_.connections;
  if (target_.proxy) options.proxy = &*target_.proxy;
  if (carrier == LinkCarrier::Ws) {
    auto https = shared_.tls.https();
    if (!https) return std::move(https).error();
    options.https = *https;
  }
  auto link = UplinkLink::open(shared_.loop, shared_.resolver, static_cast<UplinkOwner&>(*this),
                               options);
  if (!link) return std::move(link).error();
  links_.push_back(std::move(*link));
  return {};
}

void Uplink::on_head_start() {
  if (state_ == State::Connecting && chosen_ == nullptr) try_next_way();
}

void Uplink::look_for_better() {
  const bool worth_it = live_ != nullptr && chosen_ == nullptr && !ladder_.empty() &&
                        live_->kind() != ladder_.front();
  if (!worth_it) return better_.stop();
  if (!better_.armed()) better_.set(shared_.loop.now() + kBetterEvery);
}

// Beside the live one: a rung of [from, to) of the ladder, another each time.
void Uplink::find_another(std::size_t from, std::size_t to) {
  if (live_ == nullptr || from >= to || chosen_ != nullptr || links_.size() > 1) return;
  const LinkCarrier carrier = ladder_[from + turns_++ % (to - from)];
  if (auto ok = open_link(carrier, live_->address()); !ok)
    shared_.log.warn("agent.no_second_carrier", {{"relay", label_}, {"what", ok.error().what}});
}

// Some networks let UDP through for a while, or until somebody changes a firewall: what goes over
// TCP is tried before QUIC has given up, and takes the session if it gets through.
void Uplink::on_suspect(UplinkLink& link) {
  if (live_ == &link) find_another(1, ladder_.size());
}

// Make before break: the session moves when the other link has proven itself.
void Uplink::on_better() {
  if (!live()) return;
  const auto at = std::ranges::find(ladder_, live_->kind());
  find_another(0, static_cast<std::size_t>(at - ladder_.begin()));
  look_for_better();
}

// Some networks let UDP through and little of it.
void Uplink::on_strained(std::uint64_t rate) {
  const bool alone = live_ != nullptr && chosen_ == nullptr && links_.size() == 1;
  if (!alone || live_->kind() != LinkCarrier::Quic || rate >= kGoodRate) return;
  if (ladder_.size() < 2 || shared_.loop.now() < trial_.next) return;
  shared_.log.info("agent.carrier_strained", {{"relay", label_}, {"bytes_a_second", rate}});
  trial_.wanted = true;
  trial_.rate = rate;
  turns_ = 0;
  find_another(1, ladder_.size());
}

void Uplink::begin_trial_count() {
  trial_.there = session_->handed_there();
  trial_.here = session_->handed_here();
  judge_.set(shared_.loop.now() + kTrial);
}

void Uplink::judge_trial() {
  if (!live() || live_->kind() == LinkCarrier::Quic) return;
  const std::uint64_t moved = std::max(session_->handed_there() - trial_.there,
                                       session_->handed_here() - trial_.here);
  const auto rate = moved / static_cast<std::uint64_t>(kTrial / 1s);
  // The load may have ended meanwhile: then it was not asked for more.
  const bool better = rate >= trial_.rate + trial_.rate / 2 || session_->stream_count() == 0;
  shared_.log.info("agent.carrier_trial", {{"relay", label_}, {"better", better},
                                           {"before", trial_.rate}, {"bytes_a_second", rate}});
  if (better) {
    trial_.pause = Duration{0};
    trial_.next = Instant{};
    return;
  }
  trial_.pause = std::clamp(trial_.pause * 2, kTrialPauseMin, kTrialPauseMax);
  trial_.next = shared_.loop.now() + trial_.pause;
  on_better();
}

Status Uplink::on_peer_key(UplinkLink& link) {
  if (chosen_ != nullptr) {
    link.outrun();
    return Error{0, std::string(kOutrun)};
  }
  const bool worse = live_ != nullptr && link.kind() > live_->kind();
  if (worse && live_->answered() && !trial_.wanted)
    return Error{0, "the better carrier works again"};
  auto ok = trust_.accept(crypto::spki_pin(link.carrier().peer_spki_der()), link.trust());
  if (!ok) {
    last_error_ = ok.error().what;
    shared_.log.error("agent.relay_not_trusted", {{"relay", label_}, {"what", last_error_}});
    return ok;
  }
  chosen_ = &link;
  head_start_.stop();
  if (live_ != nullptr && live_->kind() < link.kind())
    note_carrier(live_->kind(), trial_.wanted ? "it brings little" : kSilence);
  for (auto& other : links_) {
    if (other.get() == &link || other.get() == live_) continue;
    if (other->kind() < link.kind()) note_carrier(other->kind(), kNoAnswer);
    other->outrun();
    other->close(link::CloseCode::Done, kOutrun);
  }
  // What the session has handed on is said in HELLO, and must not change from there on. The old
  // link's carrier lets go of the streams, which may end meanwhile. Not Done: that would end the
  // session at the relay.
  if (live_ != nullptr) live_->close(link::CloseCode::Deadline, "moving to another carrier");
  if (session_) session_->detach();
  return ok;
}

link::Hello Uplink::make_hello(UplinkLink& link) {
  link::Hello hello;
  hello.software = "adit";
  for (const LocalServiceSettings& s : shared_.services.settings())
    hello.services.push_back({s.number, std::string(kind_word(s.kind)), s.names, s.ports,
                              s.to_udp.has_value()});
  hello.yields = yields_;
  if (session_) {
    auto exported =
        link.carrier().export_keying_material(link::kResumeLabel, link::kResumeExportBytes);
    if (exported) {
      link::ResumeRequest resume;
      resume.session = session_id_;
      const auto proof = crypto::hmac_sha256(secret_, *exported);
      resume.proof.assign(proof.begin(), proof.end());
      resume.seen_next = session_->seen().next();
      resume.unseen = session_->seen().unseen();
      resume.streams = session_->offsets();
      hello.resume = std::move(resume);
    }
  }
  return hello;
}

Status Uplink::on_welcome(UplinkLink& link, const link::Welcome& welcome) {
  if (welcome.resumed && !session_)
    return Error{0, "WELCOME resumes a session that was not asked for"};
  if (!welcome.resumed) {
    if (welcome.secret.size() < 16) return Error{0, "WELCOME without a secret"};
    drop_session();
    session_ = std::make_unique<Session>(shared_.loop, Role::Agent, shared_.session_limits,
                                         static_cast<StreamAcceptor*>(this));
    flows_ = std::make_unique<AgentFlows>(shared_.loop, shared_.resolver, shared_.log,
                                          shared_.metrics, shared_.services.settings(),
                                          shared_.services.ways());
    session_->set_flows(flows_->channel());
    session_id_ = welcome.session;
    secret_ = welcome.secret;
  }
  yields_ = false;
  affinity_ = welcome.affinity;
  resume_window_ = std::chrono::milliseconds(
      std::min<std::uint64_t>(welcome.resume_window_ms, 24 * 3600 * 1000));
  for (const link::ServiceGranted& s : welcome.services) {
    if (auto ok = shared_.services.granted(s.number, s.names); !ok)
      shared_.log.error("agent.certificate", {{"what", ok.error().what}});
  }
  if (auto ok = session_->attach_agent(link.carrier(), welcome); !ok) return ok;
  session_over_.stop();
  if (live_ != nullptr) live_->close(link::CloseCode::Done, "moved to another carrier");
  live_ = &link;
  chosen_ = nullptr;
  state_ = State::Live;
  live_since_ = shared_.loop.now();
  ++times_live_;
  urls_ = urls_of(welcome);
  shared_.metrics.counter("adit_agent_links_total").add();
  const flow::CarrierStats stats = link.carrier().stats();
  shared_.log.info("agent.online", {{"relay", label_}, {"carrier", stats.name},
                                    {"resumed", welcome.resumed},
                                    {"streams", session_->stream_count()}});
  shared_.events.on_online(label_, urls_, stats.name, stats.rtt, welcome.resumed);
  better_.stop();
  look_for_better();
  judge_.stop();
  if (std::exchange(trial_.wanted, false) && link.kind() != LinkCarrier::Quic) begin_trial_count();
  return {};
}

std::vector<std::string> Uplink::urls_of(const link::Welcome& welcome) const {
  std::vector<std::string> out;
  const std::string port =
      welcome.public_port == 443 ? std::string() : ":" + std::to_string(welcome.public_port);
  for (const link::ServiceGranted& s : welcome.services)
    for (const std::string& name : s.names) out.push_back("https://" + name + port);
  for (const link::ServiceGranted& s : welcome.services) {
    if (!s.ports) continue;
    for (const LocalServiceSettings& mine : shared_.services.settings())
      if (mine.number == s.number)
        out.push_back(std::string(kind_word(mine.kind)) + "://" + target_.name + ":" +
                      s.ports->text());
  }
  return out;
}

void Uplink::on_refused(UplinkLink&, const link::Refused& refused) {
  last_error_ = refused.code + ": " + refused.text;
  retry_after_ =
      std::chrono::milliseconds(std::min<std::uint64_t>(refused.retry_after_ms, 3600'000));
  if (!refused.again) retry_after_ = std::max<Duration>(*retry_after_, 5s);
  if (yields_) retry_after_ = limits::kReconnectDelayMax;
  shared_.log.error("agent.refused",
                    {{"relay", label_}, {"code", refused.code}, {"text", refused.text}});
  shared_.events.on_refused(label_, refused);
}

Result<link::Join> Uplink::make_join(UplinkLink& link, flow::H2Link& connection) {
  if (!session_ || session_of(link) == nullptr) return Error{0, "no session"};
  if (connection.peer_spki_der() != link.carrier().peer_spki_der())
    return Error{0, "another relay answers there"};
  auto both = join_export(connection, link.carrier());
  if (!both) {
    shared_.log.warn("agent.join_failed", {{"relay", label_}, {"what", both.error().what}});
    return std::move(both).error();
  }
  link::Join join;
  join.session = session_id_;
  const auto proof = crypto::hmac_sha256(secret_, *both);
  join.proof.assign(proof.begin(), proof.end());
  return join;
}

Session* Uplink::session_of(UplinkLink& link) {
  // While another link is taking it, it is nobody's.
  const bool has_it = state_ == State::Live && live_ == &link && chosen_ == nullptr;
  return has_it ? session_.get() : nullptr;
}

void Uplink::on_stream(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end) {
  if (preamble.probe) probed_at_ = shared_.loop.now();
  shared_.services.serve(preamble, std::move(end));
}

// --- when it ends --------------------------------------------------------------------------------

void Uplink::on_link_down(UplinkLink& link, const flow::CarrierDown& down) {
  const auto at = std::find_if(links_.begin(), links_.end(),
                               [&link](const auto& l) { return l.get() == &link; });
  CHECK(at != links_.end());
  const std::unique_ptr<UplinkLink> gone = std::move(*at);
  links_.erase(at);
  const bool was_live = live_ == &link, was_chosen = chosen_ == &link;
  if (was_live) live_ = nullptr;
  if (was_chosen) chosen_ = nullptr;
  if (state_ == State::Stopped) {
    if (session_) session_->detach();
    return;
  }
  if (was_live) {
    if (chosen_ == nullptr) return after_live_lost(down);
    session_->detach();  // its other link is about to take it
    state_ = State::Connecting;
    session_over_.set(shared_.loop.now() + resume_window_);
    return;
  }
  if (live_ != nullptr) {
    if (link.kind() < live_->kind() && !was_chosen && !link.was_outrun())
      note_carrier(link.kind(), why_of(down));
    // It had taken the session from the live link, which cannot have it back. Not Done: that would
    // end the session at the relay.
    if (was_chosen) return live_->close(link::CloseCode::Deadline, "could not move from it");
    trial_.wanted = false;
    return look_for_better();
  }
  // One that lost the race, or is a leftover of what came before.
  if (!was_chosen && (chosen_ != nullptr || state_ != State::Connecting)) return;
  after_attempt_failed(link, down);
}

void Uplink::after_attempt_failed(const UplinkLink& link, const flow::CarrierDown& down) {
  const bool proven = link.handshake_done();
  if (link.refused() != nullptr) return wait(last_error_);
  if (is_certificate_alert(down)) {
    last_error_ = down.reason;
    if (trust_.certificate_failed()) {
      links_.clear();
      next_way_ = 0;
      if (!try_next_way()) wait(last_error_);
      return;
    }
    // Of this way only: somebody may open what goes over TCP, and leave a WebSocket alone.
    shared_.log.error("agent.relay_not_trusted", {{"relay", label_}, {"what", last_error_}});
  }
  if (!proven || last_error_.empty()) last_error_ = why_of(down);
  note_carrier(link.kind(), last_error_);
  if (!links_.empty()) return;  // another way may do better
  if (!try_next_way()) wait(last_error_);
}

void Uplink::after_live_lost(const flow::CarrierDown& down) {
  session_->detach();
  const auto code = static_cast<link::CloseCode>(down.code);
  const bool by_relay = down.application && down.by_peer;
  const std::string why = down.timeout ? std::string(kSilence) : down.reason;
  trouble_ = why;
  shared_.log.warn("agent.link_lost", {{"relay", label_}, {"why", why}, {"streams", streams()}});
  shared_.events.on_offline(label_, why);
  if (by_relay && (code == link::CloseCode::Superseded || code == link::CloseCode::Refused)) {
    // Another agent holds this key's names, or the key is not wanted: coming back at once would
    // fight. From now on the other is asked for no more than it leaves.
    yields_ = code == link::CloseCode::Superseded;
    drop_session();
    retry_after_ = limits::kReconnectDelayMax;
    return wait(why);
  }
  if (by_relay && code == link::CloseCode::Draining) drop_session();
  if (session_) session_over_.set(shared_.loop.now() + resume_window_);
  if (shared_.loop.now() - live_since_ >= kGoodLink) delay_ = Duration{0};
  if (delay_ != Duration{0}) return wait(why);
  delay_ = limits::kReconnectDelayMin;
  attempt();  // the first try is at once: visitors wait
}

// Jittered exponential back-off, for ever.
void Uplink::wait(std::string_view why) {
  head_start_.stop();
  better_.stop();
  judge_.stop();
  trial_.wanted = false;
  state_ = State::Waiting;
  trouble_ = why;
  delay_ = std::clamp(delay_ * 2, limits::kReconnectDelayMin, limits::kReconnectDelayMax);
  // While visitors wait for the session, trying is worth more than politeness.
  if (session_) delay_ = std::min<Duration>(delay_, 1s);
  const auto spread = static_cast<std::uint64_t>(delay_.count());
  Duration next{static_cast<std::int64_t>(spread / 2 + jitter_.below(spread / 2 + 1))};
  if (retry_after_) next = std::max(next, *retry_after_);
  shared_.metrics.counter("adit_agent_attempts_failed_total").add();
  shared_.log.warn("agent.relay_unreachable",
                   {{"relay", label_}, {"why", why}, {"next_try_ms", next / 1ms}});
  shared_.events.on_unreachable(label_, why, next);
  timer_.set(shared_.loop.now() + next);
}

void Uplink::on_session_over() {
  shared_.log.warn("agent.session_lost", {{"relay", label_}, {"streams", streams()}});
  drop_session();
}

void Uplink::drop_session() {
  session_over_.stop();
  if (!session_) return;
  std::unique_ptr<Session> gone = std::move(session_);
  gone->detach();
  gone->end(link::ResetCode::Lost);
  gone.reset();
  flows_.reset();
}

}  // namespace adit::service
