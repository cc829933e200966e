#include "proto/link/state.h"

#include <array>

namespace adit::link {

std::string_view name(LinkState s) {
  static constexpr std::array<std::string_view, kLinkStates> kNames = {
      "handshake", "greeting", "granting", "live", "draining", "closed"};
  return kNames[static_cast<std::size_t>(s)];
}

std::string_view name(LinkEvent e) {
  static constexpr std::array<std::string_view, kLinkEvents> kNames = {
      "handshake_done", "hello", "granted", "welcome", "refused", "goaway", "lost"};
  return kNames[static_cast<std::size_t>(e)];
}

std::string_view name(SessionState s) {
  static constexpr std::array<std::string_view, kSessionStates> kNames = {"attached", "waiting",
                                                                          "ended"};
  return kNames[static_cast<std::size_t>(s)];
}

std::string_view name(SessionEvent e) {
  static constexpr std::array<std::string_view, kSessionEvents> kNames = {
      "link_lost", "resumed", "superseded", "window_over", "drained"};
  return kNames[static_cast<std::size_t>(e)];
}

}  // namespace adit::link
