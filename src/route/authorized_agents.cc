// The text of `authorized_agents`: parser and printer of what access.h declares.

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <utility>

#include "base/address.h"
#include "route/access.h"

namespace adit::route {

bool is_key_id(std::string_view text) {
  return text.size() == kKeyIdBytes &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567") == text.npos;
}

std::string LineError::text() const {
  return std::to_string(line) + ":" + std::to_string(column) + ": " + what;
}

Result<std::uint64_t> parse_rate(std::string_view text) {
  const Error bad{0, "\"" + std::string(text.substr(0, 40)) +
                         "\" is not a rate: bytes a second, as in 500K, 10M, 1G"};
  std::uint64_t scale = 1;
  std::string_view digits = text;
  if (!digits.empty()) {
    const char last = digits.back();
    scale = last == 'K' ? 1'000 : last == 'M' ? 1'000'000 : last == 'G' ? 1'000'000'000 : 1;
    if (scale != 1) digits.remove_suffix(1);
  }
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || at != end || value == 0 || value > INT64_MAX / scale) return bad;
  return value * scale;
}

Result<PortRange> parse_port_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  auto first = parse_port(text.substr(0, dash));
  if (!first) return std::move(first).error();
  if (dash == text.npos) return PortRange{*first, *first};
  auto last = parse_port(text.substr(dash + 1));
  if (!last) return std::move(last).error();
  if (*last < *first) return Error{0, "\"" + std::string(text) + "\" ends before it starts"};
  return PortRange{*first, *last};
}

namespace {

constexpr std::string_view kBlanks = " \t";

std::string quoted(std::string_view text) {
  std::string shown = "\"";
  for (char c : text.substr(0, 60)) shown += c >= ' ' && c < 0x7f ? c : '?';
  if (text.size() > 60) shown += "...";
  return shown + "\"";
}

// One line. Columns come from where a piece lies in the line.
class LineParser {
 public:
  LineParser(std::string_view line, std::size_t number, std::vector<LineError>& errors)
      : line_(line), number_(number), errors_(errors) {}

  // nullopt: an empty line, or one with faults, which are noted.
  std::optional<AgentGrant> parse() {
    std::string_view rest = line_.substr(0, line_.find('#'));
    const std::size_t faults_before = faults_;
    bool first = true;
    while (true) {
      rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
      if (rest.empty()) break;
      const std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
      rest.remove_prefix(word.size());
      first ? id(word) : option(word);
      first = false;
    }
    if (first || faults_ != faults_before) return std::nullopt;
    return std::move(grant_);
  }

 private:
  void fault(std::string_view at, std::string what) {
    ++faults_;
    if (errors_.size() >= kErrorsMax) return;
    const auto column = static_cast<std::size_t>(at.data() - line_.data()) + 1;
    errors_.push_back({number_, column, std::move(what)});
  }

  void id(std::string_view word) {
    if (!is_key_id(word))
      return fault(word, quoted(word) + " is not an agent's id (26 characters of a-z and 2-7, "
                                        "as `adit keys` prints it)");
    grant_.id = word;
  }

  void option(std::string_view word) {
    const std::size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    if (equals == word.npos)
      return fault(word, quoted(word) + " is not KEY=VALUE");
    const std::string_view value = word.substr(equals + 1);
    const unsigned bit = key == "names" ? 1 : key == "ports" ? 2 : key == "rate" ? 4
                       : key == "streams" ? 8 : key == "from" ? 16 : key == "not" ? 32
                       : key == "flows" ? 64 : 0;
    if (bit == 0)
      return fault(word, "unknown key " + quoted(key) +
                             "; there are names, ports, rate, streams, flows, from, not");
    if ((seen_ & bit) != 0) return fault(word, quoted(key) + " is given twice");
    seen_ |= bit;
    switch (bit) {
      case 1: return list(value, &LineParser::name);
      case 2: return list(value, &LineParser::port);
      case 4: return rate(value);
      case 16: return list(value, &LineParser::from);
      case 32: return list(value, &LineParser::not_from);
      case 64: return count(value, "flows", grant_.flows_max);
      default: return count(value, "streams", grant_.streams_max);
    }
  }

  void list(std::string_view value, void (LineParser::*take)(std::string_view)) {
    while (true) {
      const std::string_view item = value.substr(0, value.find(','));
      if (item.empty()) {
        fault(item, "empty item in the list");
      } else {
        (this->*take)(item);
      }
      if (item.size() == value.size()) return;
      value.remove_prefix(item.size() + 1);
    }
  }

  void name(std::string_view item) {
    auto pattern = parse_pattern(item);
    if (!pattern) return fault(item, quoted(item) + " is not a host name or *.NAME");
    if (grant_.names.size() == kGrantedNamesMax)
      return fault(item, "more than " + std::to_string(kGrantedNamesMax) + " names");
    grant_.names.push_back(std::move(*pattern));
  }

  void port(std::string_view item) {
    auto range = parse_port_range(item);
    if (!range) return fault(item, quoted(item) + " is not a port or a range, as in 8000-8100");
    if (grant_.ports.size() == kGrantedPortRangesMax)
      return fault(item, "more than " + std::to_string(kGrantedPortRangesMax) + " port ranges");
    grant_.ports.push_back(*range);
  }

  void from(std::string_view item) { prefix(item, grant_.from); }
  void not_from(std::string_view item) { prefix(item, grant_.not_from); }
  void prefix(std::string_view item, std::vector<IpPrefix>& to) {
    auto parsed = IpPrefix::parse(item);
    if (!parsed) return fault(item, parsed.error().what);
    if (to.size() == kGrantedPrefixesMax)
      return fault(item, "more than " + std::to_string(kGrantedPrefixesMax) + " addresses");
    to.push_back(*parsed);
  }

  void rate(std::string_view value) {
    auto number = parse_rate(value);
    if (!number)
      return fault(value, quoted(value) + " is not a rate: bytes a second, as in 500K, 10M, 1G");
    grant_.rate = *number;
  }

  void count(std::string_view value, std::string_view what, std::optional<std::size_t>& to) {
    std::size_t number = 0;
    const char* end = value.data() + value.size();
    const auto [at, error] = std::from_chars(value.data(), end, number);
    if (error != std::errc() || at != end || number == 0 || number > limits::kVisitorsMax)
      return fault(value, quoted(value) + " is not a number of " + std::string(what) + " (1 to " +
                              std::to_string(limits::kVisitorsMax) + ")");
    to = number;
  }

  std::string_view line_;
  std::size_t number_;
  std::vector<LineError>& errors_;
  AgentGrant grant_;
  std::size_t faults_ = 0;
  unsigned seen_ = 0;
};

}  // namespace

AuthorizedAgents parse_authorized_agents(std::string_view text) {
  AuthorizedAgents out;
  std::unordered_map<std::string, std::size_t> line_of;
  const auto note = [&](std::size_t line, std::string what) {
    if (out.errors.size() < kErrorsMax) out.errors.push_back({line, 1, std::move(what)});
  };
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    auto grant = LineParser(line, number, out.errors).parse();
    if (!grant) continue;
    const auto [at, fresh] = line_of.emplace(grant->id, number);
    if (!fresh) {
      note(number, "the id is already on line " + std::to_string(at->second));
    } else if (out.agents.size() == kAgentsMax) {
      note(number, "more than " + std::to_string(kAgentsMax) + " agents");
      break;
    } else {
      out.agents.push_back(std::move(*grant));
    }
  }
  return out;
}

bool AgentGrant::admits(const IpAddress& visitor) const {
  const auto covers = [&visitor](const IpPrefix& p) { return p.contains(visitor); };
  if (std::ranges::any_of(not_from, covers)) return false;
  return from.empty() || std::ranges::any_of(from, covers);
}

std::string format(const AgentGrant& grant) {
  std::string line = grant.id;
  std::string_view before = " names=";
  for (const std::string& name : grant.names) {
    line += before;
    line += name;
    before = ",";
  }
  before = " ports=";
  for (const PortRange& range : grant.ports) {
    line += before;
    line += range.text();
    before = ",";
  }
  if (grant.rate) line += " rate=" + std::to_string(*grant.rate);
  if (grant.streams_max) line += " streams=" + std::to_string(*grant.streams_max);
  if (grant.flows_max) line += " flows=" + std::to_string(*grant.flows_max);
  for (const auto& [key, list] : {std::pair(" from=", &grant.from),
                                  std::pair(" not=", &grant.not_from)}) {
    before = key;
    for (const IpPrefix& p : *list) {
      line += before;
      line += p.text();
      before = ",";
    }
  }
  return line;
}

}  // namespace adit::route
