// The keys of the HTTP tunnel node.
#include "app/node_config.h"

#include "app/config_keys.h"

namespace adit::app {

namespace {

Node write_rule(const route::EgressRule& rule) { return Node{rule.text(), {}}; }

std::optional<route::EgressRule> read_rule(const Node& node, std::string_view path, Reading& r) {
  return r.parsed(node, path, route::parse_egress_rule);
}

void read_rules(const NodeTable& table, const char* name, std::vector<route::EgressRule>& out,
                Reading& r) {
  const Node* node = find(table, name);
  if (node == nullptr) return;
  const std::string path = std::string("another_key.") + name;
  for (const Node* item : r.items(*node, path))
    if (auto rule = read_rule(*item, path, r)) out.push_back(std::move(*rule));
}

void read_number(const NodeTable& table, const char* name, std::size_t& out, Reading& r) {
  const Node* node = find(table, name);
  if (node == nullptr) return;
  if (const auto n = r.number(*node, std::string("another_key.") + name, 0, INT64_MAX))
    out = static_cast<std::size_t>(*n);
}

std::optional<NodeKeyConfig> read_key(const Node& item, std::string_view path, Reading& r) {
  std::optional<Node> split;
  if (!std::holds_alternative<NodeTable>(item.value)) {
    split = split_item(item, path, "file", r);
    if (!split) return std::nullopt;
  }
  const Node& node = split ? *split : item;
  const auto& table = std::get<NodeTable>(node.value);
  const std::size_t faults = r.errors.size();
  if (!check_item(node, {"another_key", {"file", "name", "sessions", "requests", "bytes", "allow",
                                         "deny", "only_allowed"}, "file"}, r))
    return std::nullopt;
  NodeKeyConfig out;
  out.file = r.text(*find(table, "file"), "another_key.file").value_or("");
  out.name = out.file.substr(out.file.rfind('/') + 1);
  if (const Node* name = find(table, "name"))
    out.name = r.text(*name, "another_key.name").value_or("");
  read_number(table, "sessions", out.sessions, r);
  read_number(table, "requests", out.requests, r);
  read_number(table, "bytes", out.bytes, r);
  read_rules(table, "allow", out.allow, r);
  read_rules(table, "deny", out.deny, r);
  if (const Node* only = find(table, "only_allowed"))
    out.only_allowed = r.boolean(*only, "another_key.only_allowed").value_or(false);
  if (r.errors.size() != faults) return std::nullopt;
  return out;
}

Node write_rules(const std::vector<route::EgressRule>& rules) {
  NodeList list;
  for (const route::EgressRule& rule : rules) list.push_back(write_rule(rule));
  return {std::move(list), {}};
}

Node write_key(const NodeKeyConfig& key) {
  const NodeKeyConfig usual;
  NodeTable table;
  table.push_back({"file", {}, {key.file, {}}});
  table.push_back({"name", {}, {key.name, {}}});
  const auto number = [&table](const char* name, std::size_t value, std::size_t otherwise) {
    if (value != otherwise)
      table.push_back({name, {}, {static_cast<std::int64_t>(value), {}}});
  };
  number("sessions", key.sessions, usual.sessions);
  number("requests", key.requests, usual.requests);
  number("bytes", key.bytes, usual.bytes);
  if (!key.allow.empty()) table.push_back({"allow", {}, write_rules(key.allow)});
  if (!key.deny.empty()) table.push_back({"deny", {}, write_rules(key.deny)});
  if (key.only_allowed) table.push_back({"only_allowed", {}, {true, {}}});
  return {std::move(table), {}};
}

template <class Config>
void add_egress_keys(std::vector<Key<Config>>& keys, const std::string& section) {
  keys.push_back(list_key<Config>(
      {section, "allow", "RULE",
       "open to clients: PREFIX, NAME, *.NAME or *, each with :PORT[-PORT] or without; a prefix "
       "opens what is closed by default, as loopback and private addresses are", Shape::List},
      [](auto& c) -> auto& { return c.node.allow; }, read_rule, write_rule));
  keys.push_back(list_key<Config>({section, "deny", "RULE", "closed to clients, whatever else says",
                                       Shape::List},
                                      [](auto& c) -> auto& { return c.node.deny; }, read_rule,
                                      write_rule));
  keys.push_back(switch_key<Config>(
      {section, "only_allowed", "", "close all that allow does not open"},
      [](auto& c) -> auto& { return c.node.only_allowed; }));
  keys.push_back(list_key<Config>(
      {section, "own_address", "IP",
       "address that the world sees this machine as, where it has another (NAT)", Shape::List},
      [](auto& c) -> auto& { return c.node.own_addresses; },
      [](const Node& n, std::string_view path, Reading& r) {
        return r.parsed(n, path, IpAddress::parse);
      },
      [](const IpAddress& ip) { return Node{ip.text(), {}}; }));
}

template <class Config>
void add_behaviour_keys(std::vector<Key<Config>>& keys, const std::string& section,
                        const std::string& limits_section) {
  keys.push_back(switch_key<Config>(
      {section, "diagnostic", "",
       "tell wrong keys and requests what is wrong; else they see a decoy"},
      [](auto& c) -> auto& { return c.node.diagnostic; }));
  keys.push_back(on_off_key<Config>({section, "compression", "BOOL", "offer zstd to clients"},
                                    [](auto& c) -> auto& { return c.node.compression; }));
  keys.push_back(on_off_key<Config>(
      {section, "connect_data", "BOOL", "the op connect_data; off as nodes of old, for tests"},
      [](auto& c) -> auto& { return c.node.connect_data; }));
  keys.push_back(on_off_key<Config>(
      {section, "old_gateway", "BOOL", "the UDP gateway also at its old address, 198.18.0.1"},
      [](auto& c) -> auto& { return c.node.old_gateway; }));
  keys.push_back(duration_key<Config>(
      {limits_section, "long_poll_ms", "MS", "how long a poll is held that has nothing to fetch"},
      [](auto& c) -> auto& { return c.node.long_poll; }, limits::kNodeLongPollMin / 1ms, 25'000));
  keys.push_back(number_key<Config>({limits_section, "sessions", "N", "of all keys together"},
                                        [](auto& c) -> auto& { return c.node.sessions; }, 1,
                                        1'000'000));
  keys.push_back(number_key<Config>(
      {limits_section, "buffer_bytes", "BYTES", "held for all sessions together"},
      [](auto& c) -> auto& { return c.node.buffer_bytes; }, std::int64_t{1} << 20, INT64_MAX));
  keys.push_back(number_key<Config>(
      {limits_section, "body_bytes", "BYTES", "of a request, also unpacked"},
      [](auto& c) -> auto& { return c.node.body_bytes; }, std::int64_t{1} << 16,
      std::int64_t{64} << 20));
}

template <class Config>
void add_secret_keys(std::vector<Key<Config>>& keys, const std::string& section,
                     const char* fallback) {
  keys.push_back(text_key<Config>(
      {section, "key_file", "FILE", "holds the key of the node's clients", Shape::Scalar, fallback},
      [](auto& c) -> auto& { return c.node.key_file; }));
  keys.push_back(number_key<Config>(
      {section, "key_fd", "N", "descriptor to read that key from; -1: none"},
      [](auto& c) -> auto& { return c.node.key_fd; }, -1, 65535));
}

template <class Config>
void add_more_keys(std::vector<Key<Config>>& keys, const char* name) {
  keys.push_back(list_key<Config>(
      {"", name, "FILE[,name=NAME][,sessions=N][,requests=N][,bytes=N]...",
       "one more key of the node's clients, with limits of its own; also allow=RULE, deny=RULE, "
       "only_allowed=on", Shape::Items},
      [](auto& c) -> auto& { return c.node.more_keys; }, read_key, write_key));
}

std::vector<Key<NodeConfig>> make_keys() {
  std::vector<Key<NodeConfig>> keys;
  keys.push_back(Key<NodeConfig>{
      {"", "listen", "ADDRESS", "where clients come in; without TLS", Shape::Scalar,
       "PORT of the environment, or 8080, on every address"},
      [](NodeConfig& c, const Node& n, Reading& r) {
        if (const auto v = r.parsed(n, "listen", Address::parse)) c.listen = *v;
      },
      [](const NodeConfig& c) { return c.listen ? Node{c.listen->text(), {}} : Node{}; }});
  add_secret_keys(keys, "", "TUNNEL_AUTH_KEY of the environment");
  add_egress_keys(keys, "");
  add_behaviour_keys(keys, "", "limits");
  keys.push_back(text_key<NodeConfig>({"", "admin", "PATH", "Unix socket for status and metrics"},
                                      [](auto& c) -> auto& { return c.admin; }));
  keys.push_back(metrics_key<NodeConfig>());
  add_common_keys(keys);
  add_more_keys(keys, "another_key");
  return keys;
}

}  // namespace

void add_node_keys(std::vector<Key<RelayConfig>>& keys) {
  add_secret_keys(keys, "node", "no node");
  add_egress_keys(keys, "node");
  add_behaviour_keys(keys, "node", "node");
  add_more_keys(keys, "node_key");
}

const std::vector<Key<NodeConfig>>& keys_of(const NodeConfig*) {
  static const std::vector<Key<NodeConfig>> keys = make_keys();
  return keys;
}

// As the system replaced here: what is no port is as good as none.
void fill_defaults(NodeConfig& config, const Environment& environment) {
  const auto is = [&environment](const char* name, auto... words) {
    const std::string* value = environment.find(name);
    return value != nullptr && ((*value == words) || ...);
  };
  if (is("MHRV_DIAGNOSTIC", "1", "true", "TRUE", "True")) config.node.diagnostic = true;
  if (config.listen) return;
  std::uint16_t port = 8080;
  if (const std::string* given = environment.find("PORT")) {
    if (*given == "0") port = 0;
    if (const auto parsed = parse_port(*given)) port = *parsed;
  }
  config.listen = Address{IpAddress::any6(), port};
}

void check_whole(const NodeConfig& config, Reading& r) {
  if (!config.node.key_file.empty() && config.node.key_fd >= 0)
    r.fault(r.place("key_fd"), "key_fd", "the key is in a file already",
            "give key_file or key_fd");
}

}  // namespace adit::app
