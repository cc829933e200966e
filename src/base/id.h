// Numbers with meaning are types: a stream number is never passed where a service number is asked
// for.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace adit {

template <class Tag, class Rep = std::uint64_t>
struct Id {
  Rep value{};
  auto operator<=>(const Id&) const = default;
};

struct IdHash {
  template <class Tag, class Rep>
  std::size_t operator()(const Id<Tag, Rep>& id) const {
    return std::hash<Rep>{}(id.value);
  }
};

// One visitor's TCP connection inside a session. Numbered from 1 by the relay, never used again.
using StreamNumber = Id<struct StreamTag>;
// One service of an agent, numbered by the agent in its HELLO.
using ServiceNumber = Id<struct ServiceTag, std::uint32_t>;

}  // namespace adit
