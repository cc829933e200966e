#include "app/config_difference.h"

#include <algorithm>
#include <map>
#include <set>

#include "app/config_keys.h"

namespace adit::app {

namespace {

// What was bound, opened or proven when the relay started.
const std::set<std::string, std::less<>> kRestart = {
    "listen", "threads", "certificate", "key",     "state_dir",  "admin",  "metrics",
    "user",   "sandbox", "io_backend",  "log.format",
    "log.level",
    "limits.probe_ms", "privileged_ports"};

// As the file would have it; "none" where it has nothing.
std::string value_text(const std::string& name, const Node& node) {
  if (std::holds_alternative<std::monostate>(node.value)) return "none";
  std::string text = write_toml({{name, {}, node}});
  if (text.starts_with(name + " = ")) text.erase(0, name.size() + 3);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::vector<std::string> items_of(const std::string& name, const Node& node) {
  std::vector<std::string> out;
  if (const auto* list = std::get_if<NodeList>(&node.value)) {
    for (const Node& item : *list)
      out.push_back(std::holds_alternative<NodeTable>(item.value)
                        ? value_text(name, Node{NodeList{item}, {}})
                        : value_text(name, item));
  }
  return out;
}

bool has(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

bool is_list(const Node& node) { return std::holds_alternative<NodeList>(node.value); }

void add_key(ConfigDifference& out, const KeyName& names, const Node& before, const Node& after) {
  const std::string path = names.path();
  // Files are read again; whether there are any is settled at the start.
  const bool files = path == "certificate" || path == "key";
  const auto none = [](const Node& n) { return std::holds_alternative<std::monostate>(n.value); };
  const bool restart = (kRestart.contains(path) || path.starts_with("acme") ||
                        path.starts_with("node")) &&
                       !(files && !none(before) && !none(after));
  const std::string old_text = value_text(names.name, before);
  const std::string new_text = value_text(names.name, after);
  if (old_text == new_text) return;
  const std::size_t lines = out.lines.size();
  if (is_list(before) || is_list(after)) {
    const auto old_items = items_of(names.name, before), new_items = items_of(names.name, after);
    for (const std::string& item : new_items)
      if (!has(old_items, item)) out.lines.push_back({"+ " + path + ": " + item, restart});
    for (const std::string& item : old_items)
      if (!has(new_items, item)) out.lines.push_back({"- " + path + ": " + item, restart});
  }
  // Neither come nor gone: in another order.
  if (out.lines.size() == lines)
    out.lines.push_back({path + ": " + old_text + " -> " + new_text, restart});
}

}  // namespace

bool ConfigDifference::needs_restart() const {
  return std::any_of(lines.begin(), lines.end(), [](const Line& line) { return line.restart; });
}

std::string ConfigDifference::text() const {
  if (lines.empty()) return "nothing differs from what runs\n";
  std::string out;
  for (const Line& line : lines)
    out += line.what + (line.restart ? "   (takes a restart)\n" : "\n");
  return out;
}

RelayConfig keep_what_runs(const RelayConfig& before, RelayConfig after) {
  after.listen = before.listen;
  after.threads = before.threads;
  if (before.certificate.empty() || after.certificate.empty()) {
    after.certificate = before.certificate;
    after.key = before.key;
  }
  after.acme = before.acme;
  after.state_dir = before.state_dir;
  after.admin = before.admin;
  after.metrics = before.metrics;
  after.user = before.user;
  after.sandbox = before.sandbox;
  after.io_backend = before.io_backend;
  after.log = before.log;
  after.limits.probe = before.limits.probe;
  return after;
}

ConfigDifference difference(const RelayConfig& before, const RelayConfig& after) {
  ConfigDifference out;
  for (const auto& key : keys_of(static_cast<const RelayConfig*>(nullptr)))
    add_key(out, key.names, key.write(before), key.write(after));
  return out;
}

void add_difference(ConfigDifference& out, const std::vector<route::AgentGrant>& before,
                    const std::vector<route::AgentGrant>& after) {
  std::map<std::string, const route::AgentGrant*> old_agents;
  for (const route::AgentGrant& agent : before) old_agents[agent.id] = &agent;
  for (const route::AgentGrant& agent : after) {
    const auto found = old_agents.find(agent.id);
    if (found == old_agents.end()) {
      out.lines.push_back({"+ agent " + format(agent), false});
      continue;
    }
    if (*found->second != agent)
      out.lines.push_back({"agent " + format(*found->second) + " -> " + format(agent), false});
    old_agents.erase(found);
  }
  for (const route::AgentGrant& agent : before)
    if (old_agents.contains(agent.id)) out.lines.push_back({"- agent " + format(agent), false});
}

}  // namespace adit::app
