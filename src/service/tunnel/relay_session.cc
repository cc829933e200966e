#include "service/tunnel/relay_session.h"

#include "crypto/digest.h"
#include "crypto/random.h"
#include "service/tunnel/port_listeners.h"
#include "service/tunnel/relay_flows.h"

namespace adit::service {

namespace {
ByteVector random_vector(std::size_t n) {
  ByteVector out(n);
  crypto::random_bytes(out);
  return out;
}
}  // namespace

RelaySession::RelaySession(io::Loop& loop, std::uint64_t number, crypto::KeyId key,
                           const SessionLimits& limits, std::unique_ptr<RelayFlows> flows,
                           Delegate<void(RelaySession&)> on_window_over)
    : loop_(loop),
      number_(number),
      key_(std::move(key)),
      id_(crypto::base32_lower(random_vector(10))),
      secret_(random_vector(link::kResumeSecretBytes)),
      flows_(std::move(flows)),
      streams_(loop, Role::Relay, limits, nullptr),
      window_(loop, Delegate<void()>::to<&RelaySession::on_window>(this)),
      on_window_over_(on_window_over) {
  streams_.set_flows(flows_->channel());
}

RelaySession::~RelaySession() = default;

void RelaySession::set_ports(std::vector<PublicPorts> ports,
                             std::unique_ptr<PortListeners> listeners) {
  ports_ = std::move(ports);
  listeners_ = std::move(listeners);
}

ServiceNumber RelaySession::service_of(const std::string& pattern) const {
  for (const GrantedName& n : names_)
    if (n.pattern == pattern) return n.service;
  return ServiceNumber{0};
}

bool RelaySession::proves(Bytes proof, Bytes exported) const {
  return crypto::equal_constant_time(proof, crypto::hmac_sha256(secret_, exported));
}

void RelaySession::step(link::SessionEvent event) {
  const auto to = link::next(state_, event);
  CHECK(to.has_value());
  state_ = *to;
}

void RelaySession::resumed(RelayLink& link) {
  step(link::SessionEvent::Resumed);
  link_ = &link;
  window_.stop();
}

void RelaySession::link_lost(Instant window_over) {
  step(link::SessionEvent::LinkLost);
  link_ = nullptr;
  streams_.detach();
  waiting_since_ = loop_.now();
  window_.set(window_over);
}

void RelaySession::ended() {
  if (state_ == link::SessionState::Ended) return;
  step(link::SessionEvent::Superseded);
  window_.stop();
  listeners_.reset();
  streams_.end(link::ResetCode::Lost);
  link_ = nullptr;
}

}  // namespace adit::service
