// Configuration before it has a type: what the TOML file, the environment and the flags are turned
// into, so that one reader serves all three. Internal to the configuration's loaders.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/config.h"

namespace adit::app {

// Where a value stands, for its errors.
struct Place {
  std::string source;
  std::size_t line = 0;
  std::size_t column = 0;
};

struct Node;
struct NodeEntry;
using NodeList = std::vector<Node>;
using NodeTable = std::vector<NodeEntry>;

struct Node {
  // monostate: nothing (when printing), or a TOML type that no key has.
  using Value = std::variant<std::monostate, bool, std::int64_t, std::string, NodeList, NodeTable>;

  Value value;
  Place place;
  bool is_word = false;                   // from a flag or the environment: "4" may be a number
  std::string_view foreign = "something else";  // monostate: "a date"

  std::string_view type() const;  // "a string"
};

struct NodeEntry {
  std::string key;
  Place place;  // of the key
  Node node;
};

// Null when there is none.
const Node* find(const NodeTable& table, std::string_view key);

// Syntax errors end up in `errors`, and the table is empty then. Keys are in the order of the text.
NodeTable parse_toml(std::string_view text, const std::string& source,
                     std::vector<ConfigError>& errors);

// Scalars and arrays first, then sections, then arrays of tables. Empty nodes are left out.
std::string write_toml(const NodeTable& table);

}  // namespace adit::app
