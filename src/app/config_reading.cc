#include "app/config_reading.h"

#include <algorithm>
#include <charconv>

#include "app/spelling.h"

namespace adit::app {

std::string ConfigError::text() const {
  std::string out = source;
  if (line > 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
  if (!out.empty()) out += ": ";
  out += what;
  if (!hint.empty()) out += "; " + hint;
  return out;
}

void Reading::fault(const Place& place, std::string_view path, std::string what,
                    std::string hint) {
  if (errors.size() >= kErrorsMax) return;
  const bool in_file = place.line > 0;
  if (in_file && !path.empty()) what.insert(0, std::string(path) + ": ");
  errors.push_back({place.source, place.line, place.column, std::move(what), std::move(hint)});
}

void Reading::missing(std::string what, std::string hint) {
  errors.push_back({{}, 0, 0, std::move(what), std::move(hint), true});
}

void Reading::unknown_key(const NodeEntry& entry, std::string_view section,
                          std::span<const std::string> known, std::string hint) {
  const bool table = std::holds_alternative<NodeTable>(entry.node.value);
  std::string what = table && section.empty() ? "unknown section [" + entry.key + "]"
                                              : "unknown key \"" + entry.key + "\"";
  if (!section.empty()) what += " in " + std::string(section);
  if (hint.empty()) hint = did_you_mean(entry.key, known);
  fault(entry.place, {}, std::move(what), std::move(hint));
}

void Reading::wrong_type(const Node& node, std::string_view path, std::string_view expected,
                         std::string hint) {
  fault(node.place, path,
        "expected " + std::string(expected) + ", found " + std::string(node.type()),
        std::move(hint));
}

namespace {

std::optional<bool> boolean_word(std::string_view word) {
  for (std::string_view yes : {"true", "yes", "on", "1"})
    if (word == yes) return true;
  for (std::string_view no : {"false", "no", "off", "0"})
    if (word == no) return false;
  return std::nullopt;
}

std::optional<std::int64_t> number_word(std::string_view word) {
  std::int64_t value = 0;
  const auto [at, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || at != word.data() + word.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<bool> Reading::boolean(const Node& node, std::string_view path) {
  if (const auto* value = std::get_if<bool>(&node.value)) return *value;
  const auto* word = std::get_if<std::string>(&node.value);
  const auto meant = word != nullptr ? boolean_word(*word) : std::nullopt;
  if (node.is_word) {
    if (!meant) fault(node.place, path, "\"" + *word + "\" is not true or false");
    return meant;
  }
  wrong_type(node, path, "true or false",
             meant ? std::string("write ") + (*meant ? "true" : "false") + " without quotes" : "");
  return std::nullopt;
}

std::optional<std::int64_t> Reading::number(const Node& node, std::string_view path,
                                            std::int64_t min, std::int64_t max) {
  std::optional<std::int64_t> value;
  if (const auto* number = std::get_if<std::int64_t>(&node.value)) value = *number;
  const auto* word = std::get_if<std::string>(&node.value);
  const auto meant = word != nullptr ? number_word(*word) : std::nullopt;
  if (node.is_word) {
    if (!meant) {
      fault(node.place, path, "\"" + *word + "\" is not a whole number");
      return std::nullopt;
    }
    value = meant;
  }
  if (!value) {
    wrong_type(node, path, "a whole number",
               meant ? "write " + std::to_string(*meant) + " without quotes" : "");
    return std::nullopt;
  }
  if (*value < min || *value > max) {
    fault(node.place, path,
          std::to_string(*value) + " is out of range (" + std::to_string(min) + " to " +
              std::to_string(max) + ")");
    return std::nullopt;
  }
  return value;
}

std::optional<std::string> Reading::text(const Node& node, std::string_view path) {
  const auto* text = std::get_if<std::string>(&node.value);
  if (text == nullptr) {
    wrong_type(node, path, "a string", "put it in quotes");
    return std::nullopt;
  }
  if (text->empty()) {
    fault(node.place, path, "the string is empty", "leave the key out for its default");
    return std::nullopt;
  }
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(text->begin(), text->end(), control)) {
    fault(node.place, path, "the string has control characters");
    return std::nullopt;
  }
  return *text;
}

std::optional<std::size_t> Reading::choice(const Node& node, std::string_view path,
                                           std::span<const std::string> words) {
  const auto word = text(node, path);
  if (!word) return std::nullopt;
  std::string all;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (*word == words[i]) return i;
    if (i > 0) all += i + 1 == words.size() ? " or " : ", ";
    all += "\"" + words[i] + "\"";
  }
  fault(node.place, path, "\"" + *word + "\" is not " + all, did_you_mean(*word, words));
  return std::nullopt;
}

std::vector<const Node*> Reading::items(const Node& node, std::string_view path) {
  const auto* list = std::get_if<NodeList>(&node.value);
  if (list == nullptr) return {&node};
  std::vector<const Node*> out;
  for (const Node& item : *list) out.push_back(&item);
  if (out.empty())
    fault(node.place, path, "the array is empty", "leave the key out for its default");
  return out;
}

Place Reading::place(const std::string& path) const {
  const auto found = places_.find(path);
  return found == places_.end() ? Place{} : found->second;
}

}  // namespace adit::app
