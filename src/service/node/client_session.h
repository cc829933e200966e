// What a client of the node has open: a stream (TCP, or the UDP gateway inside), or a UDP socket to
// one place. This is what both have in common: who waits for them, and how they end.
//
// The table owns a session. Whoever works with one across turns holds it: taken out of the table it
// is shut, and goes when nobody holds it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/list.h"
#include "base/time.h"
#include "service/node/node_key.h"
#include "service/node/sid.h"

namespace adit::service {

class ClientSession;

// Told of changes; from the loop, or from within a call into the session, so it only takes note.
class SessionWatcher : public ListNode<SessionWatcher> {
 public:
  virtual void on_session_changed() = 0;

 protected:
  ~SessionWatcher() = default;
};

// Whose session it is.
class SessionOwner {
 public:
  // Nobody holds it, and it is out of the table: it may be destroyed, later in this turn.
  virtual void unused(ClientSession& session) = 0;

 protected:
  ~SessionOwner() = default;
};

class ClientSession : public ListNode<ClientSession> {
 public:
  enum class Kind : std::uint8_t { Stream, Udp };
  enum class Opening : std::uint8_t { Pending, Open, Failed };

  ClientSession(SessionOwner& owner, Kind kind, NodeKey& key, Instant now)
      : kind_(kind), sid_(Sid::make()), owner_(owner), key_(key), used_at_(now) {
    ++key_.sessions;
  }
  virtual ~ClientSession() { --key_.sessions; }
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  Kind kind() const { return kind_; }
  const Sid& sid() const { return sid_; }
  NodeKey& key() const { return key_; }

  Opening opening() const { return opening_; }
  // Failed: for the client, "connect failed: …".
  const std::string& failure() const { return failure_; }

  Instant used_at() const { return used_at_; }
  void used(Instant now) { used_at_ = now; }

  void watch(SessionWatcher& watcher) { watchers_.push_back(watcher); }
  // Those who wait look again: another poll was answered.
  void poke() { changed(); }
  void hold() { ++holds_; }
  void let_go() {
    --holds_;
    if (holds_ == 0 && removed_ && !std::exchange(told_unused_, true)) owner_.unused(*this);
  }
  bool held() const { return holds_ > 0; }
  bool removed() const { return removed_; }
  // When the owner comes to destroy it.
  bool still_unused() {
    told_unused_ = false;
    return holds_ == 0;
  }
  // Out of the table: no bytes move any more; what was received can still be read.
  void remove() {
    removed_ = true;
    shut();
  }

 protected:
  // Sockets and timers end.
  virtual void shut() = 0;
  void opened() {
    opening_ = Opening::Open;
    changed();
  }
  void failed(std::string text) {
    opening_ = Opening::Failed;
    failure_ = std::move(text);
    changed();
  }
  void changed() {
    // A watcher takes note, and leaves the list later.
    List<SessionWatcher, SessionWatcher> told;
    while (SessionWatcher* w = watchers_.pop_front()) {
      told.push_back(*w);
      w->on_session_changed();
    }
    watchers_.take_all(told);
  }

 private:
  const Kind kind_;
  bool removed_ = false, told_unused_ = false;
  Opening opening_ = Opening::Pending;
  const Sid sid_;
  SessionOwner& owner_;
  NodeKey& key_;
  std::uint32_t holds_ = 0;
  Instant used_at_;
  std::string failure_;
  List<SessionWatcher, SessionWatcher> watchers_;
};

}  // namespace adit::service
