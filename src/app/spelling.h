// "Did you mean": the nearest of the words that would have been right.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace adit::app {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `known`, when it is near enough to be what was meant; the first of equals.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> known);

// `did you mean "domain"?`, or empty.
std::string did_you_mean(std::string_view word, std::span<const std::string> known);

}  // namespace adit::app
