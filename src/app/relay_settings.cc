#include "app/relay_settings.h"

#include <cerrno>
#include <set>

#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/key_file.h"
#include "crypto/random.h"
#include "io/port_check.h"
#include "proto/quic/connection.h"

namespace adit::app {

namespace {
constexpr std::size_t kAgentsFileBytesMax = std::size_t{16} << 20;
constexpr std::size_t kPemFileBytesMax = std::size_t{1} << 20;
// A development certificate is made anew at each start; agents remember its key, not its dates.
constexpr Duration kSelfSignedValidity = 24h * 397;
}  // namespace

SettingsAndFaults make_settings(const RelayConfig& config) {
  SettingsAndFaults out;
  service::RelaySettings& s = out.settings;
  s.domains = config.domains;
  s.own_names = config.own_names;
  for (const RouteConfig& r : config.routes) {
    s.rules.push_back({r.sni, r.is_default, r.to_udp.has_value()});
    s.upstreams.push_back(r.to);
    s.udp_upstreams.push_back(r.to_udp);
  }
  s.open = config.open;
  s.probe_period = config.limits.probe;
  std::uint8_t random[3];
  crypto::random_bytes(random);
  s.run_number = std::uint32_t{random[0]} << 16 | std::uint32_t{random[1]} << 8 | random[2];
  s.edge.proxy_from = config.proxy_from;
  s.edge.visitors_per_address = config.limits.visitors_per_address;
  s.edge.half_open = config.limits.half_open;
  s.edge.hello_deadline = config.limits.hello_deadline;
  s.tunnel.session = {config.limits.streams_per_link, config.limits.retain_stream_bytes,
                      config.limits.retain_session_bytes};
  s.tunnel.flows = {config.limits.flows_per_agent, config.limits.flow_idle};
  s.tunnel.links_per_key = config.limits.links_per_key;
  s.tunnel.resume_window = config.limits.resume_window;
  for (const ListenConfig& l : config.listen)
    if (l.tcp) {
      s.public_port = l.address.port;
      break;
    }

  auto text = crypto::read_file(config.authorized_agents, kAgentsFileBytesMax);
  if (!text) {
    if (text.error().code == ENOENT) return out;
    out.faults.push_back(text.error().what);
    out.agents_unreadable = true;
    return out;
  }
  route::AuthorizedAgents agents = route::parse_authorized_agents(*text);
  for (const route::LineError& e : agents.errors)
    out.faults.push_back(config.authorized_agents + ":" + e.text());
  s.agents = std::move(agents.agents);
  return out;
}

service::RelayPorts make_ports(const RelayConfig& config) {
  service::RelayPorts ports;
  const bool ipv6 = io::has_ipv6();
  for (const ListenConfig& l : config.listen) {
    Address at = l.address;
    if (!ipv6 && at.ip == IpAddress::any6()) at.ip = IpAddress::any4();
    if (l.tcp) ports.tcp.push_back(at);
    if (l.udp) ports.udp.push_back(at);
  }
  for (const PrivilegedPorts& p : config.privileged_ports) {
    for (std::uint32_t port = p.range.first; port <= p.range.last; ++port) {
      const auto number = static_cast<std::uint16_t>(port);
      if (p.tcp) ports.privileged.emplace_back(io::Transport::Tcp, number);
      if (p.udp) ports.privileged.emplace_back(io::Transport::Udp, number);
    }
  }
  return ports;
}

Result<RelayIdentity> load_identity(const RelayConfig& config, WallTime now) {
  RelayIdentity out;
  if (!config.certificate.empty()) {
    auto chain = crypto::read_file(config.certificate, kPemFileBytesMax);
    if (!chain) return std::move(chain).error().with("certificate");
    auto key = crypto::read_file(config.key, kPemFileBytesMax);
    if (!key) return std::move(key).error().with("key");
    out.certificate_pem = *chain;
    out.key_pem = *key;
  } else {
    auto key = crypto::load_or_make_key(config.state_dir + "/relay.key");
    if (!key) return std::move(key).error().with("relay key");
    std::vector<std::string> names = config.domains;
    for (const std::string& d : config.domains) names.push_back("*." + d);
    names.insert(names.end(), config.own_names.begin(), config.own_names.end());
    auto certificate = crypto::self_signed(
        *key, names, WallTime{now.ns - 3'600'000'000'000}, kSelfSignedValidity);
    if (!certificate) return std::move(certificate).error().with("relay certificate");
    out.certificate_pem = *certificate;
    out.key_pem = key->to_pkcs8_pem();
    out.self_signed = true;
  }
  auto parsed = crypto::Certificate::from_pem(out.certificate_pem);
  if (!parsed) return std::move(parsed).error().with(config.certificate);
  out.pin = crypto::spki_pin(parsed->spki_der());
  out.reset_secret = crypto::hmac_sha256(as_bytes(out.key_pem), as_bytes("adit stateless reset"));
  return out;
}

Result<service::LinkTls> make_link_tls(const RelayIdentity& identity) {
  crypto::ServerTls tls;
  tls.certificate_chain_pem = identity.certificate_pem;
  tls.private_key_pem = identity.key_pem;
  tls.alpn = {std::string(route::kAlpnQuicLink)};
  tls.request_client_certificate = true;
  tls.tls13_only = true;
  auto quic = crypto::TlsContext::server(tls);
  if (!quic) return std::move(quic).error();
  if (auto ready = quic::Connection::prepare(*quic); !ready) return std::move(ready).error();
  tls.alpn = {std::string(route::kAlpnH2Link)};
  auto h2 = crypto::TlsContext::server(tls);
  if (!h2) return std::move(h2).error();
  tls.alpn = {"h2", "http/1.1"};
  tls.request_client_certificate = false;
  tls.tls13_only = false;  // whoever comes by
  auto site = crypto::TlsContext::server(tls);
  if (!site) return std::move(site).error();
  return service::LinkTls{std::move(*quic), std::move(*h2), std::move(*site)};
}

}  // namespace adit::app
