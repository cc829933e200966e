// Who owns which name right now: the names that connected agents have claimed. Pure; a thread
// keeps its own copy or asks the one that has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/id.h"
#include "base/limits.h"
#include "route/name.h"

namespace adit::route {

// What a visitor of the name is handed to.
struct NameOwner {
  std::string key_id;         // the agent's id, 26 characters
  std::uint64_t session = 0;  // the relay's number of the session, never used again
  ServiceNumber service;
  std::uint32_t thread = 0;   // index of the thread that holds the session's link
  bool quic = false;          // visitors by QUIC are wanted, too

  bool operator==(const NameOwner&) const = default;
};

enum class ClaimVerdict : std::uint8_t {
  Claimed,       // nobody had it
  Kept,          // the same session had it; service and thread are the new ones now
  TakenOver,     // an earlier session of the same key had it
  TakenByOther,  // refused: another key's session has it
  TooMany,       // refused: the key has its share of names
};
// "claimed", "taken_by_other": stable, for the wire and logs.
std::string_view name(ClaimVerdict verdict);
inline bool granted(ClaimVerdict v) { return v <= ClaimVerdict::TakenOver; }

struct ClaimOutcome {
  ClaimVerdict verdict = ClaimVerdict::Claimed;
  // Kept, TakenOver: the entry as it was; TakenByOther: the entry as it is.
  std::optional<NameOwner> previous;
};

class NameTable {
 public:
  // As many as one agent can ask for in its services.
  static constexpr std::size_t kNamesPerKeyMax =
      limits::kServicesPerAgentMax * limits::kNamesPerServiceMax;

  explicit NameTable(std::size_t names_per_key_max = kNamesPerKeyMax)
      : names_per_key_max_(names_per_key_max) {}

  // `pattern` is canonical (parse_pattern) and has been granted to the key (AgentAccess). A stale
  // registration never blocks its own key: the new session takes the name over at once.
  ClaimOutcome claim(std::string_view pattern, NameOwner owner);

  // Gives the name up if this session still has it: the late end of a session whose names were
  // taken over changes nothing. Says whether it did.
  bool release(std::string_view pattern, std::uint64_t session);
  // All names of the session; returns them. Costs a walk over the names of its key.
  std::vector<std::string> release_session(std::string_view key_id, std::uint64_t session);
  // The session's link moved to another thread: visitors are handed there from now on.
  void move_session(std::string_view key_id, std::uint64_t session, std::uint32_t thread);

  struct Found {
    std::string_view pattern;  // valid until the next change of the table
    const NameOwner* owner;
  };
  // The owner of the name itself, else of its wildcard.
  std::optional<Found> find(std::string_view name) const;
  // The entry under exactly this pattern.
  const NameOwner* owner_of(std::string_view pattern) const;

  std::size_t size() const { return owners_.size(); }
  std::size_t quic_names() const { return quic_; }  // whose owners want QUIC
  std::size_t count(std::string_view key_id) const;

 private:
  void forget(std::string_view pattern, std::string_view key_id);

  std::size_t names_per_key_max_;
  std::size_t quic_ = 0;
  NameMap<NameOwner> owners_;
  NameMap<std::vector<std::string>> by_key_;  // key id -> its patterns; no empty vectors
};

}  // namespace adit::route
