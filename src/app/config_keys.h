// A key of the configuration, tied to a member of its struct: one row gives the file's reader, the
// flag, the environment name, the help text and the printer. Internal to the configuration's
// loaders.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "app/config.h"
#include "app/config_node.h"
#include "app/config_reading.h"
#include "app/node_config.h"

namespace adit::app {

enum class Shape : std::uint8_t {
  Scalar,
  Switch,
  List,   // of words: commas or blanks between them in the environment
  Items,  // of words or tables: blanks between them in the environment
};

struct KeyName {
  std::string section;  // "" or "limits"
  std::string name;
  std::string metavar;
  std::string help;
  Shape shape = Shape::Scalar;
  std::string fallback{};  // in words, where the default is no value

  std::string path() const { return section.empty() ? name : section + "." + name; }
};

// In words: see default_state_dir.
inline constexpr const char* kStateDirFallback =
    "/var/lib/adit, or ~/.local/state/adit unless root";

template <class Config>
struct Key {
  KeyName names;
  // Leaves the member alone when it notes a fault.
  std::function<void(Config&, const Node&, Reading&)> read;
  std::function<Node(const Config&)> write;
};

// `access` is a generic lambda from a Config& to the member.

template <class Config, class Access>
Key<Config> switch_key(KeyName names, Access access) {
  names.shape = Shape::Switch;
  const std::string path = names.path();
  return {std::move(names),
          [access, path](Config& c, const Node& n, Reading& r) {
            if (const auto v = r.boolean(n, path)) access(c) = *v;
          },
          [access](const Config& c) { return Node{access(c), {}}; }};
}

// One that is on unless it is turned off, and so takes its value on the command line, too.
template <class Config, class Access>
Key<Config> on_off_key(KeyName names, Access access) {
  Key<Config> out = switch_key<Config>(std::move(names), access);
  out.names.shape = Shape::Scalar;
  return out;
}

template <class Config, class Access>
Key<Config> number_key(KeyName names, Access access, std::int64_t min, std::int64_t max) {
  const std::string path = names.path();
  return {std::move(names),
          [access, path, min, max](Config& c, const Node& n, Reading& r) {
            using Number = std::remove_reference_t<decltype(access(c))>;
            if (const auto v = r.number(n, path, min, max)) access(c) = static_cast<Number>(*v);
          },
          [access](const Config& c) { return Node{static_cast<std::int64_t>(access(c)), {}}; }};
}

// A Duration, in milliseconds.
template <class Config, class Access>
Key<Config> duration_key(KeyName names, Access access, std::int64_t min, std::int64_t max) {
  const std::string path = names.path();
  return {std::move(names),
          [access, path, min, max](Config& c, const Node& n, Reading& r) {
            if (const auto v = r.number(n, path, min, max))
              access(c) = std::chrono::milliseconds(*v);
          },
          [access](const Config& c) {
            const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(access(c));
            return Node{static_cast<std::int64_t>(ms.count()), {}};
          }};
}

// An enumeration whose values, from 0 on, have these words.
template <class Config, class Access>
Key<Config> choice_key(KeyName names, Access access, std::vector<std::string> words) {
  const std::string path = names.path();
  return {std::move(names),
          [access, path, words](Config& c, const Node& n, Reading& r) {
            using Choice = std::remove_reference_t<decltype(access(c))>;
            if (const auto v = r.choice(n, path, words)) access(c) = static_cast<Choice>(*v);
          },
          [access, words](const Config& c) {
            return Node{words[static_cast<std::size_t>(access(c))], {}};
          }};
}

// A string as it is; empty: not set.
template <class Config, class Access>
Key<Config> text_key(KeyName names, Access access) {
  const std::string path = names.path();
  return {std::move(names),
          [access, path](Config& c, const Node& n, Reading& r) {
            if (auto v = r.text(n, path)) access(c) = std::move(*v);
          },
          [access](const Config& c) { return access(c).empty() ? Node{} : Node{access(c), {}}; }};
}

// A list of T, each read by `item` (nullopt after a fault) and written by `print`. Twice the same
// is a fault.
template <class Config, class Access, class Item, class Print>
Key<Config> list_key(KeyName names, Access access, Item item, Print print) {
  if (names.shape == Shape::Scalar) names.shape = Shape::List;
  const std::string path = names.path();
  return {std::move(names),
          [access, path, item](Config& c, const Node& n, Reading& r) {
            std::remove_reference_t<decltype(access(c))> list;
            for (const Node* node : r.items(n, path)) {
              auto value = item(*node, path, r);
              if (!value) continue;
              if (std::find(list.begin(), list.end(), *value) != list.end()) {
                r.fault(node->place, path, "the same value twice");
                continue;
              }
              r.remember(path + "[" + std::to_string(list.size()) + "]", node->place);
              list.push_back(std::move(*value));
            }
            if (!list.empty()) access(c) = std::move(list);
          },
          [access, print](const Config& c) {
            NodeList list;
            for (const auto& value : access(c)) list.push_back(print(value));
            return list.empty() ? Node{} : Node{std::move(list), {}};
          }};
}

// [log], io_backend and what is given up after the start, alike in every kind of configuration.
template <class Config>
void add_common_keys(std::vector<Key<Config>>& keys) {
  keys.push_back(choice_key<Config>(
      {"", "io_backend", "KIND", "auto, uring or epoll; auto takes io_uring where it works"},
      [](auto& c) -> auto& { return c.io_backend; }, {"auto", "uring", "epoll"}));
  keys.push_back(choice_key<Config>(
      {"", "sandbox", "on|off", "once started, give up capabilities, system calls and files"},
      [](auto& c) -> auto& { return c.sandbox; }, {"off", "on"}));
  keys.push_back(text_key<Config>(
      {"", "user", "NAME", "become this user once started as root", Shape::Scalar, "stay"},
      [](auto& c) -> auto& { return c.user; }));
  keys.push_back(choice_key<Config>({"log", "format", "FORM", "text or json"},
                                    [](auto& c) -> auto& { return c.log.format; },
                                    {"text", "json"}));
  keys.push_back(choice_key<Config>({"log", "level", "LEVEL", "debug, info, warn or error"},
                                    [](auto& c) -> auto& { return c.log.level; },
                                    {"debug", "info", "warn", "error"}));
}

template <class Config>
Key<Config> metrics_key() {
  KeyName names{"", "metrics", "ADDRESS",
                "also serve metrics over HTTP here, as in 127.0.0.1:9100"};
  return {names,
          [](Config& c, const Node& n, Reading& r) {
            if (const auto v = r.parsed(n, "metrics", Address::parse)) c.metrics = *v;
          },
          [](const Config& c) { return c.metrics ? Node{c.metrics->text(), {}} : Node{}; }};
}

// What one item of a list of tables may hold. Unknown keys are faults, and so is a missing
// `required`: false, with the fault noted.
struct ItemKeys {
  std::string_view list;  // "service"
  std::vector<std::string> known;
  std::string_view required;
};
bool check_item(const Node& item, const ItemKeys& keys, Reading& reading);

// An item as one word, "FIRST,key=value,...": the table that a file would have in its place. A key
// given more than once becomes an array. nullopt after a fault.
std::optional<Node> split_item(const Node& word, std::string_view path, std::string_view first,
                               Reading& reading);

// The rows of each kind of configuration, and what is checked across rows when all sources are in.
const std::vector<Key<RelayConfig>>& keys_of(const RelayConfig*);
const std::vector<Key<AgentConfig>>& keys_of(const AgentConfig*);
// [node] and [[node_key]] of a relay.
void add_node_keys(std::vector<Key<RelayConfig>>& keys);
const std::vector<Key<NodeConfig>>& keys_of(const NodeConfig*);
void fill_defaults(RelayConfig& config, const Environment& environment);
void fill_defaults(AgentConfig& config, const Environment& environment);
void fill_defaults(NodeConfig& config, const Environment& environment);
void check_whole(const RelayConfig& config, Reading& reading);
void check_whole(const AgentConfig& config, Reading& reading);
void check_whole(const NodeConfig& config, Reading& reading);

}  // namespace adit::app
