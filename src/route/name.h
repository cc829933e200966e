// Host names in their one canonical form: lower case, no dot at the end, letters, digits, hyphen
// and underscore. Everything in this room compares canonical names only.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"

namespace adit::route {

// RFC 1035 §2.3.4, without the dot at the end.
inline constexpr std::size_t kNameBytesMax = 253;
inline constexpr std::size_t kLabelBytesMax = 63;

// The canonical form of a host name in any case, with or without a dot at its end. IP literals are
// no names (RFC 6066 §3 keeps them out of SNI).
Result<std::string> parse_name(std::string_view text);

// A name, or `*.` and a name: any one label in place of the star, as in certificates (RFC 9525
// §6.3).
Result<std::string> parse_pattern(std::string_view text);

inline bool is_wildcard(std::string_view pattern) { return pattern.starts_with("*."); }

// Both canonical. A wildcard pattern in place of a name matches only itself.
bool matches(std::string_view pattern, std::string_view name);

// The only wildcard that can match `name`: "a.b.c" gives "*.b.c"; a name of one label has none.
std::optional<std::string> wildcard_of(std::string_view name);

// Lets tables keyed by name be asked with a string_view.
struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const {
    return std::hash<std::string_view>{}(name);
  }
};

template <class T>
using NameMap = std::unordered_map<std::string, T, NameHash, std::equal_to<>>;

// The entry that a name falls to: its own, else its wildcard's. NameMap<T>::end() when there is
// none.
template <class Map>
auto find_by_name(Map& map, std::string_view name) {
  auto found = map.find(name);
  if (found != map.end()) return found;
  const auto wildcard = wildcard_of(name);
  return wildcard ? map.find(*wildcard) : map.end();
}

}  // namespace adit::route
