// Ports of one host, as in "8000-8100".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace adit {

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;  // included; first <= last
  bool operator==(const PortRange&) const = default;

  std::size_t size() const { return std::size_t{last} - first + 1; }
  bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  std::string text() const {
    return std::to_string(first) + (last == first ? std::string() : "-" + std::to_string(last));
  }
};

}  // namespace adit
