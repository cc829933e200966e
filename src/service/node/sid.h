// A session's id: a random UUID (RFC 9562 §5.4) in its text form, lower case.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace adit::service {

struct Sid {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Sid&) const = default;

  static Sid make();  // unguessable: who knows it may use the session
  static std::optional<Sid> parse(std::string_view text);
  std::string text() const;
  // For logs, where the whole of it would be a secret.
  std::string short_text() const { return text().substr(0, 8); }
};

struct SidHash {
  std::size_t operator()(const Sid& sid) const;  // they are random already
};

}  // namespace adit::service
