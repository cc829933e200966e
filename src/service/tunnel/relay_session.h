// A session as the relay has it: whose it is, what it was granted, and its streams. Lives over
// links; without one it waits for the resume window.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/port_range.h"
#include "crypto/key.h"
#include "io/loop.h"
#include "proto/link/messages.h"
#include "proto/link/state.h"
#include "route/router.h"
#include "service/tunnel/session.h"

namespace adit::service {

class RelayLink;

struct GrantedName {
  std::string pattern;  // or the entry of a port (route::port_entry)
  ServiceNumber service;
  bool quic = false;    // visitors by QUIC are wanted, too
};

// Public ports of the relay that lead to one service.
struct PublicPorts {
  route::Transport transport = route::Transport::Tcp;
  PortRange range;
  ServiceNumber service;
};

class PortListeners;
class RelayFlows;

class RelaySession {
 public:
  RelaySession(io::Loop& loop, std::uint64_t number, crypto::KeyId key, const SessionLimits& limits,
               std::unique_ptr<RelayFlows> flows, Delegate<void(RelaySession&)> on_window_over);
  ~RelaySession();

  std::uint64_t number() const { return number_; }
  // What the agent knows it by: unguessable, and worth nothing without the secret.
  const std::string& id() const { return id_; }
  const crypto::KeyId& key() const { return key_; }
  const ByteVector& secret() const { return secret_; }
  Session& streams() { return streams_; }
  const Session& streams() const { return streams_; }
  RelayLink* link() { return link_; }
  link::SessionState state() const { return state_; }
  const std::vector<GrantedName>& names() const { return names_; }
  void set_names(std::vector<GrantedName> names) { names_ = std::move(names); }
  const std::vector<PublicPorts>& ports() const { return ports_; }
  // Bound by `listeners`, where there are any.
  void set_ports(std::vector<PublicPorts> ports, std::unique_ptr<PortListeners> listeners);
  PortListeners* listeners() { return listeners_.get(); }
  RelayFlows& flows() { return *flows_; }
  const RelayFlows& flows() const { return *flows_; }
  ServiceNumber service_of(const std::string& pattern) const;

  // `proof` is HMAC-SHA256(secret, the new link's exporter value).
  bool proves(Bytes proof, Bytes exported) const;
  // The link carries the session from now on (attached by the caller).
  void resumed(RelayLink& link);
  void link_lost(Instant window_over);
  void ended();
  // Since when there is no link; meaningful while waiting.
  Instant waiting_since() const { return waiting_since_; }

 private:
  void on_window() { on_window_over_(*this); }
  void step(link::SessionEvent event);

  io::Loop& loop_;
  const std::uint64_t number_;
  const crypto::KeyId key_;
  std::string id_;
  ByteVector secret_;
  std::unique_ptr<RelayFlows> flows_;
  Session streams_;
  std::vector<GrantedName> names_;
  std::vector<PublicPorts> ports_;
  std::unique_ptr<PortListeners> listeners_;
  RelayLink* link_ = nullptr;
  link::SessionState state_ = link::SessionState::Attached;
  Instant waiting_since_;
  io::Timer window_;
  Delegate<void(RelaySession&)> on_window_over_;
};

}  // namespace adit::service
