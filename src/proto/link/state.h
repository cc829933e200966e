// State machines of a link and of a session, as pure functions; the golden table in tests/golden/
// is printed from them. An empty optional is an illegal step: the peer's fault where a frame caused
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace adit::link {

// One link, seen from either end.
enum class LinkState : std::uint8_t {
  Handshake,  // QUIC and TLS
  Greeting,   // relay: waits for HELLO; agent: HELLO is sent, waits for WELCOME
  Granting,   // relay only: names are being claimed
  Live,
  Draining,   // after GOAWAY: no new streams
  Closed,
};
enum class LinkEvent : std::uint8_t {
  HandshakeDone,
  HelloReceived,    // relay
  Granted,          // relay: names are ours, WELCOME goes out
  WelcomeReceived,  // agent
  Refused,          // sent or received
  Goaway,           // sent or received
  Lost,             // silence, close by the peer, deadline, protocol fault
};
inline constexpr int kLinkStates = 6, kLinkEvents = 7;

constexpr std::optional<LinkState> next(LinkState s, LinkEvent e) {
  using S = LinkState;
  using E = LinkEvent;
  if (s == S::Closed) return std::nullopt;
  if (e == E::Lost) return S::Closed;
  switch (s) {
    case S::Handshake:
      return e == E::HandshakeDone ? std::optional(S::Greeting) : std::nullopt;
    case S::Greeting:
      if (e == E::HelloReceived) return S::Granting;
      if (e == E::WelcomeReceived) return S::Live;
      return e == E::Refused ? std::optional(S::Closed) : std::nullopt;
    case S::Granting:
      if (e == E::Granted) return S::Live;
      return e == E::Refused ? std::optional(S::Closed) : std::nullopt;
    case S::Live:
      return e == E::Goaway ? std::optional(S::Draining) : std::nullopt;
    case S::Draining:
    case S::Closed:
      return std::nullopt;
  }
  return std::nullopt;
}

// A session over its links.
enum class SessionState : std::uint8_t {
  Attached,  // a link carries it
  Waiting,   // the link is lost; streams are kept for the resume window
  Ended,     // streams are reset, names released
};
enum class SessionEvent : std::uint8_t {
  LinkLost,
  Resumed,        // a link with a valid proof took over (from a live or a lost link)
  Superseded,     // a link of the same key without a session to resume took the names over
  WindowOver,
  Drained,        // orderly end
};
inline constexpr int kSessionStates = 3, kSessionEvents = 5;

constexpr std::optional<SessionState> next(SessionState s, SessionEvent e) {
  using S = SessionState;
  using E = SessionEvent;
  if (s == S::Ended) return std::nullopt;
  switch (e) {
    case E::LinkLost: return s == S::Attached ? std::optional(S::Waiting) : std::nullopt;
    case E::Resumed: return S::Attached;
    case E::Superseded: return S::Ended;
    case E::WindowOver: return s == S::Waiting ? std::optional(S::Ended) : std::nullopt;
    case E::Drained: return S::Ended;
  }
  return std::nullopt;
}

std::string_view name(LinkState s);
std::string_view name(LinkEvent e);
std::string_view name(SessionState s);
std::string_view name(SessionEvent e);

}  // namespace adit::link
