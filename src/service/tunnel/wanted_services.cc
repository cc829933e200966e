#include "service/tunnel/wanted_services.h"

#include "base/limits.h"

namespace adit::service {

namespace {

WantedServices refused(std::string_view code, std::string text, std::string subject = {},
                       std::string admit_with = {}) {
  WantedServices out;
  out.refusal.emplace(
      WantedRefusal{std::string(code), std::move(text), std::move(subject), std::move(admit_with)});
  return out;
}

// Unset: granted, and appended.
std::optional<WantedServices> add_names(const route::AgentAccess& access,
                                        const std::string& key_id,
                                        const link::ServiceWanted& wanted, WantedServices& out) {
  if (wanted.ports)
    return refused("ports", "a service of kind \"tls\" has names, and no ports");
  std::vector<std::string> asked = wanted.names;
  if (asked.empty()) asked.push_back("{id}");
  for (const std::string& name : asked) {
    const auto resolved = access.resolve(key_id, name);
    if (resolved.refusal) {
      const std::string command = "adit allow " + key_id + " --name " + name;
      return refused(route::code(*resolved.refusal),
                     "the name \"" + name + "\" is not granted to this key; the operator grants " +
                         "it with: " + command, name, command);
    }
    for (const std::string& pattern : resolved.names)
      out.names.push_back({pattern, wanted.number, wanted.quic});
  }
  return std::nullopt;
}

std::optional<WantedServices> add_ports(const route::AgentAccess& access,
                                        const std::string& key_id,
                                        const link::ServiceWanted& wanted,
                                        route::Transport transport, WantedServices& out) {
  if (!wanted.ports || !wanted.names.empty())
    return refused("ports", "a service of kind \"" + wanted.kind + "\" has ports, and no names");
  std::size_t so_far = wanted.ports->size();
  for (const PublicPorts& p : out.ports) so_far += p.range.size();
  if (so_far > limits::kPortsPerSessionMax)
    return refused("too_many_ports", "an agent may have " +
                                         std::to_string(limits::kPortsPerSessionMax) +
                                         " ports at most");
  for (std::uint32_t port = wanted.ports->first; port <= wanted.ports->last; ++port) {
    const auto number = static_cast<std::uint16_t>(port);
    if (const auto no = access.check_port(key_id, number)) {
      const std::string command = "adit allow " + key_id + " --port " + wanted.ports->text();
      return refused(route::code(*no), "the port " + std::to_string(port) +
                                           " is not granted to this key; the operator grants " +
                                           "it with: " + command,
                     std::to_string(port), command);
    }
    out.names.push_back({route::port_entry(transport, number), wanted.number});
  }
  out.ports.push_back({transport, *wanted.ports, wanted.number});
  return std::nullopt;
}

}  // namespace

WantedServices check_wanted(const route::AgentAccess& access, const std::string& key_id,
                            const std::vector<link::ServiceWanted>& services) {
  WantedServices out;
  for (const link::ServiceWanted& wanted : services) {
    std::optional<WantedServices> no;
    if (wanted.kind == "tls") {
      no = add_names(access, key_id, wanted, out);
    } else if (wanted.kind == "tcp") {
      no = add_ports(access, key_id, wanted, route::Transport::Tcp, out);
    } else if (wanted.kind == "udp") {
      no = add_ports(access, key_id, wanted, route::Transport::Udp, out);
    } else {
      no = refused("kind", "this relay has no services of kind \"" + wanted.kind + "\"");
    }
    if (no) return std::move(*no);
  }
  if (out.names.empty()) return refused("no_services", "the agent asks for no services");
  return out;
}

}  // namespace adit::service
