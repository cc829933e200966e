#include "app/config_keys.h"

namespace adit::app {

bool check_item(const Node& item, const ItemKeys& keys, Reading& reading) {
  const auto& table = std::get<NodeTable>(item.value);
  const std::string section = "[[" + std::string(keys.list) + "]]";
  for (const NodeEntry& entry : table) {
    if (std::find(keys.known.begin(), keys.known.end(), entry.key) == keys.known.end())
      reading.unknown_key(entry, section, keys.known);
  }
  if (find(table, keys.required) != nullptr) return true;
  reading.fault(item.place, keys.list, "\"" + std::string(keys.required) + "\" is missing");
  return false;
}

std::optional<Node> split_item(const Node& word, std::string_view path, std::string_view first,
                               Reading& reading) {
  const auto text = reading.text(word, path);
  if (!text) return std::nullopt;
  NodeTable table;
  std::string_view rest = *text;
  std::string key(first);
  while (true) {
    const std::string_view piece = rest.substr(0, rest.find(','));
    std::string_view value = piece;
    if (!table.empty()) {
      const std::size_t equals = piece.find('=');
      if (equals == piece.npos) {
        reading.fault(word.place, path, "\"" + std::string(piece) + "\" is not KEY=VALUE");
        return std::nullopt;
      }
      key = piece.substr(0, equals);
      value = piece.substr(equals + 1);
    }
    Node node{std::string(value), word.place, true};
    const auto same = std::find_if(table.begin(), table.end(),
                                   [&](const NodeEntry& e) { return e.key == key; });
    if (same == table.end()) {
      table.push_back({key, word.place, std::move(node)});
    } else {
      if (!std::holds_alternative<NodeList>(same->node.value))
        same->node = Node{NodeList{same->node}, word.place, true};
      std::get<NodeList>(same->node.value).push_back(std::move(node));
    }
    if (piece.size() == rest.size()) break;
    rest.remove_prefix(piece.size() + 1);
  }
  return Node{std::move(table), word.place, true};
}

}  // namespace adit::app
