#include "app/config.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "app/config_keys.h"
#include "app/spelling.h"

extern char** environ;  // POSIX; no header declares it without extensions

namespace adit::app {

Environment Environment::of_process() {
  Environment out;
  out.root = geteuid() == 0;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != text.npos) out.variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

const std::string* Environment::find(std::string_view name) const {
  const auto found = variables.find(name);
  return found == variables.end() || found->second.empty() ? nullptr : &found->second;
}

std::string default_state_dir(const Environment& environment) {
  // systemd.exec(5): StateDirectory= may name several, with colons between.
  if (const auto* given = environment.find("STATE_DIRECTORY"))
    return given->substr(0, given->find(':'));
  if (environment.root) return "/var/lib/adit";
  if (const auto* state = environment.find("XDG_STATE_HOME")) return *state + "/adit";
  if (const auto* home = environment.find("HOME")) return *home + "/.local/state/adit";
  return {};
}

namespace {

constexpr std::string_view variable_prefix(const RelayConfig*) { return "ADIT_RELAY_"; }
constexpr std::string_view variable_prefix(const AgentConfig*) { return "ADIT_AGENT_"; }
constexpr std::string_view variable_prefix(const NodeConfig*) { return "ADIT_NODE_"; }

std::string flag_of(const KeyName& names) {
  std::string flag = "--" + names.path();
  for (char& c : flag)
    if (c == '.' || c == '_') c = '-';
  return flag;
}

std::string variable_of(std::string_view prefix, const KeyName& names) {
  std::string variable(prefix);
  for (char c : names.path())
    variable += c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return variable;
}

// --- the file ---

template <class Config>
std::vector<std::string> names_in(const std::vector<Key<Config>>& keys, std::string_view section) {
  std::vector<std::string> out;
  for (const Key<Config>& key : keys)
    if (key.names.section == section) out.push_back(key.names.name);
  return out;
}

template <class Config>
std::vector<std::string> sections_of(const std::vector<Key<Config>>& keys) {
  std::vector<std::string> out;
  for (const Key<Config>& key : keys)
    if (!key.names.section.empty() &&
        std::find(out.begin(), out.end(), key.names.section) == out.end())
      out.push_back(key.names.section);
  return out;
}

// A key that is right elsewhere is worth more than the nearest spelling.
template <class Config>
std::string belongs_elsewhere(const std::vector<Key<Config>>& keys, const NodeEntry& entry,
                              std::string_view section) {
  for (const Key<Config>& key : keys) {
    if (key.names.name != entry.key || key.names.section == section) continue;
    return key.names.section.empty()
               ? "\"" + entry.key + "\" belongs before the first [section]"
               : "\"" + entry.key + "\" belongs in [" + key.names.section + "]";
  }
  return {};
}

template <class Config>
void apply_table(const NodeTable& table, const std::string& section, Config& config,
                 Reading& reading) {
  const auto& keys = keys_of(static_cast<const Config*>(nullptr));
  const std::vector<std::string> sections =
      section.empty() ? sections_of(keys) : std::vector<std::string>{};
  for (const NodeEntry& entry : table) {
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const Key<Config>& k) {
      return k.names.section == section && k.names.name == entry.key;
    });
    if (key != keys.end()) {
      reading.remember(key->names.path(), entry.node.place);
      key->read(config, entry.node, reading);
      continue;
    }
    if (std::find(sections.begin(), sections.end(), entry.key) != sections.end()) {
      if (const auto* inner = std::get_if<NodeTable>(&entry.node.value)) {
        apply_table(*inner, entry.key, config, reading);
      } else {
        reading.fault(entry.node.place, entry.key,
                      "expected a table, found " + std::string(entry.node.type()),
                      "write [" + entry.key + "] on a line of its own");
      }
      continue;
    }
    std::string hint = belongs_elsewhere(keys, entry, section);
    const auto meant = nearest(entry.key, sections);
    if (hint.empty() && meant) hint = "did you mean [" + *meant + "]?";
    reading.unknown_key(entry, section.empty() ? "" : "[" + section + "]", names_in(keys, section),
                        std::move(hint));
  }
}

// --- words: environment and flags ---

NodeList split_words(std::string_view text, std::string_view separators, const Place& place) {
  NodeList out;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(separators), text.size()));
    if (text.empty()) return out;
    const std::string_view word = text.substr(0, text.find_first_of(separators));
    out.push_back({std::string(word), place, true});
    text.remove_prefix(word.size());
  }
}

template <class Config>
void apply_words(const Key<Config>& key, const std::vector<std::string>& words, const Place& place,
                 Config& config, Reading& reading) {
  reading.remember(key.names.path(), place);
  const bool list = key.names.shape == Shape::List || key.names.shape == Shape::Items;
  if (!list) {
    // Of a flag given more than once the last counts.
    if (!words.empty()) key.read(config, Node{words.back(), place, true}, reading);
    return;
  }
  NodeList nodes;
  for (const std::string& word : words) nodes.push_back({word, place, true});
  key.read(config, Node{std::move(nodes), place, true}, reading);
}

template <class Config>
void apply_environment(const Environment& environment, Config& config, Reading& reading) {
  const Config* kind = nullptr;
  for (const Key<Config>& key : keys_of(kind)) {
    const std::string variable = variable_of(variable_prefix(kind), key.names);
    const std::string* value = environment.find(variable);
    if (value == nullptr) continue;
    const Place place{variable};
    const bool list = key.names.shape == Shape::List || key.names.shape == Shape::Items;
    if (!list) {
      apply_words(key, {*value}, place, config, reading);
      continue;
    }
    const std::string_view separators = key.names.shape == Shape::List ? ", \t\n" : " \t\n";
    reading.remember(key.names.path(), place);
    key.read(config, Node{split_words(*value, separators, place), place, true}, reading);
  }
}

// Names with our prefix that are none of ours, but nearly: others (Kubernetes service variables)
// may share the prefix, so the rest stays unsaid, and nothing is refused.
template <class Config>
void warn_of_variables(const Environment& environment, Loaded<Config>& out) {
  const Config* kind = nullptr;
  const std::string_view prefix = variable_prefix(kind);
  std::vector<std::string> known = {std::string(prefix) + "CONFIG"};
  for (const Key<Config>& key : keys_of(kind)) known.push_back(variable_of(prefix, key.names));
  for (auto it = environment.variables.lower_bound(prefix);
       it != environment.variables.end() && it->first.starts_with(prefix); ++it) {
    if (std::find(known.begin(), known.end(), it->first) != known.end()) continue;
    for (const std::string& candidate : known) {
      if (edit_distance(it->first, candidate) > 2) continue;
      out.warnings.push_back({it->first, 0, 0, "this variable means nothing to adit",
                              "did you mean \"" + candidate + "\"?"});
      break;
    }
  }
}

// The file from top to bottom, then the rest as it was found.
void sort_by_place(std::vector<ConfigError>& errors) {
  std::multimap<std::pair<std::size_t, std::size_t>, ConfigError> sorted;
  for (ConfigError& error : errors) {
    const std::pair place(error.line > 0 ? error.line : SIZE_MAX, error.column);
    sorted.emplace(place, std::move(error));
  }
  errors.clear();
  for (auto& [place, error] : sorted) errors.push_back(std::move(error));
}

template <class Config>
Loaded<Config> build(std::string_view text, const ConfigSources& sources,
                     const Environment& environment) {
  Loaded<Config> out;
  Reading reading;
  const NodeTable table = parse_toml(text, sources.file, reading.errors);
  const bool syntax = reading.errors.empty();
  apply_table(table, "", out.config, reading);
  apply_environment(environment, out.config, reading);
  for (const Key<Config>& key : keys_of(static_cast<const Config*>(nullptr))) {
    const auto given = sources.flags.find(key.names.path());
    if (given == sources.flags.end()) continue;
    apply_words(key, given->second, Place{flag_of(key.names)}, out.config, reading);
  }
  fill_defaults(out.config, environment);
  // Without the file nobody knows what is missing.
  if (syntax) check_whole(out.config, reading);
  warn_of_variables(environment, out);
  out.errors = std::move(reading.errors);
  for (ConfigError& error : out.errors)
    if (error.missing) error.source = sources.file;
  sort_by_place(out.errors);
  return out;
}

Result<std::string> read_config_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return errno_error(errno, "cannot open");
  std::string text(kConfigFileBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof())) return Error{0, "cannot be read"};
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kConfigFileBytesMax) return Error{0, "over 1 MiB"};
  return text;
}

template <class Config>
Loaded<Config> load(const ConfigSources& sources, const Environment& environment) {
  if (sources.file.empty()) return build<Config>({}, sources, environment);
  auto text = read_config_file(sources.file);
  if (text) return build<Config>(*text, sources, environment);
  Loaded<Config> out;
  out.errors.push_back({sources.file, 0, 0, text.error().what, {}});
  return out;
}

template <class Config>
std::string print_config(const Config& config, PrintMode mode, const Environment& environment) {
  Config defaults;
  fill_defaults(defaults, environment);
  NodeTable root;
  const auto& keys = keys_of(static_cast<const Config*>(nullptr));
  for (const Key<Config>& key : keys) {
    Node node = key.write(config);
    const auto line = [&](Node value) {
      return write_toml({{key.names.name, {}, std::move(value)}});
    };
    if (mode == PrintMode::Changed && line(node) == line(key.write(defaults))) continue;
    if (key.names.section.empty()) {
      root.push_back({key.names.name, {}, std::move(node)});
      continue;
    }
    if (find(root, key.names.section) == nullptr)
      root.push_back({key.names.section, {}, {NodeTable{}, {}}});
    for (NodeEntry& entry : root)
      if (entry.key == key.names.section)
        std::get<NodeTable>(entry.node.value).push_back({key.names.name, {}, std::move(node)});
  }
  return write_toml(root);
}

// The default for the help: in words, or as the file would have it.
template <class Config>
std::string fallback_of(const Key<Config>& key) {
  const Node node = key.write(Config{});
  const bool value = key.names.shape == Shape::Scalar && node.value.index() != 0;
  if (!key.names.fallback.empty() || !value) return key.names.fallback;
  const auto* text = std::get_if<std::string>(&node.value);
  if (const bool* on = std::get_if<bool>(&node.value)) return *on ? "true" : "false";
  return text != nullptr ? *text : std::to_string(std::get<std::int64_t>(node.value));
}

template <class Config>
std::vector<ConfigKeyInfo> key_infos() {
  const Config* kind = nullptr;
  std::vector<ConfigKeyInfo> out;
  for (const Key<Config>& key : keys_of(kind)) {
    const Shape shape = key.names.shape;
    out.push_back({key.names.path(), flag_of(key.names),
                   variable_of(variable_prefix(kind), key.names), key.names.metavar,
                   key.names.help, fallback_of(key), shape == Shape::Switch,
                   shape == Shape::List || shape == Shape::Items});
  }
  return out;
}

}  // namespace

Loaded<RelayConfig> load_relay_config(const ConfigSources& sources,
                                      const Environment& environment) {
  return load<RelayConfig>(sources, environment);
}
Loaded<AgentConfig> load_agent_config(const ConfigSources& sources,
                                      const Environment& environment) {
  return load<AgentConfig>(sources, environment);
}
Loaded<RelayConfig> parse_relay_config(std::string_view text, const ConfigSources& sources,
                                       const Environment& environment) {
  return build<RelayConfig>(text, sources, environment);
}
Loaded<AgentConfig> parse_agent_config(std::string_view text, const ConfigSources& sources,
                                       const Environment& environment) {
  return build<AgentConfig>(text, sources, environment);
}

Loaded<NodeConfig> load_node_config(const ConfigSources& sources,
                                    const Environment& environment) {
  return load<NodeConfig>(sources, environment);
}
Loaded<NodeConfig> parse_node_config(std::string_view text, const ConfigSources& sources,
                                     const Environment& environment) {
  return build<NodeConfig>(text, sources, environment);
}

ConfigKind guess_config_kind(std::string_view text) {
  std::vector<ConfigError> ignored;  // a file that is no TOML is no agent's either
  const NodeTable table = parse_toml(text, {}, ignored);
  for (const char* key : {"relay", "service", "roots"})
    if (find(table, key) != nullptr) return ConfigKind::Agent;
  return ConfigKind::Relay;
}

std::string print(const RelayConfig& config, PrintMode mode, const Environment& environment) {
  return print_config(config, mode, environment);
}
std::string print(const AgentConfig& config, PrintMode mode, const Environment& environment) {
  return print_config(config, mode, environment);
}

std::string print(const NodeConfig& config, PrintMode mode, const Environment& environment) {
  return print_config(config, mode, environment);
}

std::vector<ConfigKeyInfo> relay_config_keys() { return key_infos<RelayConfig>(); }
std::vector<ConfigKeyInfo> agent_config_keys() { return key_infos<AgentConfig>(); }
std::vector<ConfigKeyInfo> node_config_keys() { return key_infos<NodeConfig>(); }

}  // namespace adit::app
