// The one place that knows toml++.

#define TOML_EXCEPTIONS 0
#ifndef TOML_HEADER_ONLY
#define TOML_HEADER_ONLY 1
#endif
#include <toml++/toml.h>

#include <algorithm>

#include "app/config_node.h"
#include "base/log.h"

namespace adit::app {

std::string_view Node::type() const {
  switch (value.index()) {
    case 1: return "true or false";
    case 2: return "a whole number";
    case 3: return "a string";
    case 4: return "an array";
    case 5: return "a table";
    default: return foreign;
  }
}

const Node* find(const NodeTable& table, std::string_view key) {
  for (const NodeEntry& entry : table)
    if (entry.key == key) return &entry.node;
  return nullptr;
}

namespace {

// No key is deeper than an array of tables of arrays; what is deeper is wrong in any case.
constexpr int kDepthMax = 6;

Place place_of(const toml::source_region& region, const std::string& source) {
  return Place{source, region.begin.line, region.begin.column};
}

std::string_view foreign_name(toml::node_type type) {
  switch (type) {
    case toml::node_type::floating_point: return "a decimal number";
    case toml::node_type::date: return "a date";
    case toml::node_type::time: return "a time";
    case toml::node_type::date_time: return "a date and time";
    default: return "something else";
  }
}

Node convert(const toml::node& from, const std::string& source, int depth);

NodeTable convert_table(const toml::table& from, const std::string& source, int depth) {
  NodeTable out;
  if (depth > kDepthMax) return out;
  for (auto&& [key, value] : from)
    out.push_back({std::string(key.str()), place_of(key.source(), source),
                   convert(value, source, depth + 1)});
  std::stable_sort(out.begin(), out.end(), [](const NodeEntry& a, const NodeEntry& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  return out;
}

Node convert(const toml::node& from, const std::string& source, int depth) {
  Node out;
  out.place = place_of(from.source(), source);
  if (const auto* table = from.as_table()) {
    out.value = convert_table(*table, source, depth);
  } else if (const auto* array = from.as_array()) {
    NodeList list;
    if (depth <= kDepthMax)
      for (const toml::node& item : *array) list.push_back(convert(item, source, depth + 1));
    out.value = std::move(list);
  } else if (const auto* text = from.as_string()) {
    out.value = text->get();
  } else if (const auto* number = from.as_integer()) {
    out.value = number->get();
  } else if (const auto* flag = from.as_boolean()) {
    out.value = flag->get();
  } else {
    out.foreign = foreign_name(from.type());
  }
  return out;
}

}  // namespace

NodeTable parse_toml(std::string_view text, const std::string& source,
                     std::vector<ConfigError>& errors) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    const Place place = place_of(error.source(), source);
    errors.push_back({source, place.line, place.column, std::string(error.description()), {}});
    return {};
  }
  return convert_table(parsed.table(), source, 0);
}

namespace {

// TOML basic strings and JSON strings have the escapes in common that are used here.
void append_value(std::string& out, const Node& node) {
  if (const auto* flag = std::get_if<bool>(&node.value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* number = std::get_if<std::int64_t>(&node.value)) {
    out += std::to_string(*number);
  } else if (const auto* text = std::get_if<std::string>(&node.value)) {
    append_json_string(out, *text);
  } else if (const auto* list = std::get_if<NodeList>(&node.value)) {
    out += '[';
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += ", ";
      append_value(out, (*list)[i]);
    }
    out += ']';
  }
}

bool is_table_list(const Node& node) {
  const auto* list = std::get_if<NodeList>(&node.value);
  return list != nullptr && !list->empty() &&
         std::holds_alternative<NodeTable>(list->front().value);
}

void append_plain_keys(std::string& out, const NodeTable& table) {
  for (const NodeEntry& entry : table) {
    if (std::holds_alternative<std::monostate>(entry.node.value)) continue;
    if (std::holds_alternative<NodeTable>(entry.node.value) || is_table_list(entry.node)) continue;
    out += entry.key + " = ";
    append_value(out, entry.node);
    out += '\n';
  }
}

}  // namespace

std::string write_toml(const NodeTable& table) {
  std::string out;
  append_plain_keys(out, table);
  for (const NodeEntry& entry : table) {
    const auto* section = std::get_if<NodeTable>(&entry.node.value);
    if (section == nullptr) continue;
    out += "\n[" + entry.key + "]\n";
    append_plain_keys(out, *section);
  }
  for (const NodeEntry& entry : table) {
    if (!is_table_list(entry.node)) continue;
    for (const Node& item : std::get<NodeList>(entry.node.value)) {
      out += "\n[[" + entry.key + "]]\n";
      append_plain_keys(out, std::get<NodeTable>(item.value));
    }
  }
  if (out.starts_with('\n')) out.erase(0, 1);
  return out;
}

}  // namespace adit::app
