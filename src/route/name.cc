#include "route/name.h"

namespace adit::route {

namespace {

Error bad_name(std::string_view text, std::string_view why) {
  // The text may be a peer's: what is longer than any name is not repeated in full.
  return Error{0, "\"" + std::string(text.substr(0, kNameBytesMax)) + "\" is not a host name: " +
                      std::string(why)};
}

// Lower-cases in place; the reason when a character or a length is wrong.
std::optional<std::string_view> canonicalise(std::string& name) {
  std::size_t label = 0;  // bytes of the current one
  char before = '.';
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    if (c == '.') {
      if (label == 0) return "empty label";
      if (before == '-') return "a label ends with a hyphen";
      label = 0;
    } else if (plain || c == '-') {
      if (c == '-' && label == 0) return "a label starts with a hyphen";
      if (++label > kLabelBytesMax) return "a label has more than 63 bytes";
    } else {
      return "only letters, digits, hyphens, underscores and dots are allowed";
    }
    before = c;
  }
  if (before == '-') return "a label ends with a hyphen";
  return std::nullopt;
}

}  // namespace

Result<std::string> parse_name(std::string_view text) {
  std::string_view trimmed = text;
  if (trimmed.ends_with('.')) trimmed.remove_suffix(1);
  if (trimmed.empty()) return bad_name(text, "it is empty");
  if (trimmed.size() > kNameBytesMax) return bad_name(text, "over 253 bytes");
  std::string name(trimmed);
  if (const auto why = canonicalise(name)) return bad_name(text, *why);
  if (name.ends_with('.')) return bad_name(text, "empty label");
  // RFC 3696 §2: no top-level domain is all digits, so this is an IPv4 literal or a slip.
  const std::string_view top = std::string_view(name).substr(name.rfind('.') + 1);
  if (top.find_first_not_of("0123456789") == top.npos)
    return bad_name(text, "the last label is a number");
  return name;
}

Result<std::string> parse_pattern(std::string_view text) {
  if (!is_wildcard(text)) {
    if (text.find('*') != text.npos)
      return bad_name(text, "a star may only be the whole first label");
    return parse_name(text);
  }
  auto suffix = parse_name(text.substr(2));
  if (!suffix) return bad_name(text, "what follows \"*.\" is not one");
  if (suffix->size() + 2 > kNameBytesMax) return bad_name(text, "over 253 bytes");
  return "*." + *suffix;
}

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern == name) return true;
  if (!is_wildcard(pattern)) return false;
  const std::size_t dot = name.find('.');
  return dot != name.npos && dot > 0 && name.front() != '*' &&
         name.substr(dot) == pattern.substr(1);
}

std::optional<std::string> wildcard_of(std::string_view name) {
  const std::size_t dot = name.find('.');
  if (dot == name.npos || is_wildcard(name)) return std::nullopt;
  return "*" + std::string(name.substr(dot));
}

}  // namespace adit::route
