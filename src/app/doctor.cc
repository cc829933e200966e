#include "app/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "app/relay_main.h"
#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/init.h"
#include "crypto/key.h"
#include "crypto/key_file.h"
#include "crypto/random.h"
#include "crypto/tls_native.h"
#include "crypto/tls_session.h"
#include "io/answer_routing.h"
#include "io/cares_resolver.h"
#include "io/port_check.h"
#include "io/reach.h"
#include "route/router.h"
#include "service/agent/visitor_ways.h"

namespace adit::app {

namespace {

constexpr Duration kPatience = 3s;
constexpr Duration kUdpPatience = 700ms;
constexpr unsigned kUdpTries = 4;
constexpr std::size_t kHandshakeBytesMax = 256 * 1024;
constexpr std::size_t kPemFileBytesMax = std::size_t{1} << 20;

// One look-up at a time, on a loop of its own.
class Names {
 public:
  Names(io::Loop& loop, io::Resolver& resolver)
      : loop_(loop), resolver_(resolver),
        request_(io::ResolveRequest::Handler::to<&Names::on_answer>(this)) {}

  Result<std::vector<Address>> find(const std::string& host, std::uint16_t port) {
    answer_ = Error{ETIMEDOUT, "no answer"};
    const Instant end = loop_.now() + 2 * kPatience;
    resolver_.resolve(request_, host, port, Deadline::after(loop_.now(), kPatience));
    while (request_.waiting() && loop_.now() < end) loop_.turn(end);
    request_.cancel();
    return answer_;
  }

 private:
  void on_answer(const Result<std::vector<Address>>& answer) { answer_ = answer; }

  io::Loop& loop_;
  io::Resolver& resolver_;
  io::ResolveRequest request_;
  Result<std::vector<Address>> answer_ = Error{0, "not asked"};
};

std::string addresses_text(const std::vector<Address>& addresses) {
  std::string out;
  for (const Address& a : addresses) out += (out.empty() ? "" : ", ") + a.ip.text();
  return out;
}

class Doctor {
 public:
  Doctor(Names& names, std::vector<Finding>& findings) : names_(names), findings_(findings) {}

  void machine() {
    for (const char* key : {"rmem_max", "wmem_max"}) {
      std::ifstream in(std::string("/proc/sys/net/core/") + key);
      std::size_t allowed = 0;
      const std::string check = std::string("net.core.") + key;
      if (!(in >> allowed)) {
        add({check, Verdict::Skip, "not to be read here (a network namespace?)", {}});
      } else if (::geteuid() == 0) {
        add({check, Verdict::Pass, "root goes beyond it", {}});
      } else {
        add(judge_buffer(check, allowed, io::UdpOptions{}.buffer_bytes));
      }
    }
    add(io::has_ipv6() ? Finding{"ipv6", Verdict::Pass, "this machine has it", {}}
                       : Finding{"ipv6", Verdict::Skip, "this machine has none", {}});
  }

  // All that concerns a relay under this name, as it is seen from here.
  void relay(const HostPort& at, const std::string& tls_name) {
    auto found = names_.find(at.host, at.port);
    const std::string name = at.text();
    if (!found) {
      add({"dns " + at.host, Verdict::Fail, found.error().what,
           "add A and AAAA records for " + at.host + "; or is this machine off-line?"});
      for (const char* what : {"tcp ", "udp ", "certificate ", "clock "})
        add({what + name, Verdict::Skip, "without an address", {}});
      return;
    }
    add({"dns " + at.host, Verdict::Pass, addresses_text(*found), {}});
    const Address to = found->front();
    if (tcp(to, name)) {
      certificate(to, name, tls_name);
      clock(to, name);
    } else {
      for (const char* what : {"certificate ", "clock "})
        add({what + name, Verdict::Skip, "without a connection", {}});
    }
    udp(to, name);
  }

  void wildcard(const std::string& domain) {
    const std::string one = "doctor-" + random_word() + "." + domain;
    auto found = names_.find(one, 443);
    if (found) return add({"dns *." + domain, Verdict::Pass, addresses_text(*found), {}});
    add({"dns *." + domain, Verdict::Fail, one + ": " + found.error().what,
         "add A and AAAA records for *." + domain + ", or one for each agent's name"});
  }

  void service(const HostPort& to) {
    auto found = names_.find(to.host, to.port);
    const std::string check = "service " + to.text();
    if (!found)
      return add({check, Verdict::Fail, found.error().what, "mend \"to\" of the service"});
    auto connection = io::TcpConversation::connect(found->front(), kPatience);
    if (connection) return add({check, Verdict::Pass, "accepts connections", {}});
    add({check, Verdict::Fail, connection.error().what,
         "start the service, or mend \"to\" in the agent's configuration"});
  }

  // Rules are made and removed for it, and nobody else's packets are touched.
  void transparent(const HostPort& to) {
    const std::string check = "transparent " + to.text();
    auto targets = service::transparent_targets(to);
    if (!targets) return add({check, Verdict::Fail, targets.error().what, "write its address"});
    auto routing = io::AnswerRouting::open();
    if (!routing) return add({check, Verdict::Fail, routing.error().what, {}});
    std::string works;
    for (const IpAddress& ip : *targets) {
      const std::string family = ip.is_v4() ? "IPv4" : "IPv6";
      if (auto proved = (*routing)->prove(ip.is_v4()); proved) {
        works += (works.empty() ? "" : " and ") + family;
      } else {
        return add({check, Verdict::Fail, family + ": " + proved.error().what,
                    proved.error().code == EPERM
                        ? "run this and the agent as root, or with CAP_NET_ADMIN"
                        : "the kernel needs policy routing (CONFIG_IP_MULTIPLE_TABLES)"});
      }
    }
    add({check, Verdict::Pass, "a trial visitor by " + works + " is seen by its own address", {}});
  }

  void add(Finding finding) { findings_.push_back(std::move(finding)); }

 private:
  static std::string random_word() {
    std::uint8_t bytes[5];
    crypto::random_bytes(bytes);
    return crypto::base32_lower(bytes);
  }

  bool tcp(const Address& to, const std::string& name) {
    auto connection = io::TcpConversation::connect(to, kPatience);
    if (connection) {
      add({"tcp " + name, Verdict::Pass, "accepts connections at " + to.text(), {}});
      return true;
    }
    add({"tcp " + name, Verdict::Fail, connection.error().what,
         "is the relay running? let TCP port " + std::to_string(to.port) +
             " through its firewall and NAT"});
    return false;
  }

  void udp(const Address& to, const std::string& name) {
    std::uint8_t id[8];
    crypto::random_bytes(id);
    auto answer = io::ask_by_datagram(to, version_question(id), kUdpPatience, kUdpTries);
    const std::string check = "udp " + name;
    if (answer && is_version_answer(answer->bytes, id)) {
      const double ms = std::chrono::duration<double, std::milli>(answer->took).count();
      return add({check, Verdict::Pass, fmt::format("QUIC answers after {:.1f} ms", ms), {}});
    }
    add({check, Verdict::Fail, answer ? "what answers there does not speak QUIC"
                                      : answer.error().what,
         "let UDP port " + std::to_string(to.port) +
             " through, here and at the relay; until then agents use TCP"});
  }

  // As an agent's link over TCP begins: the relay shows its certificate for that.
  void certificate(const Address& to, const std::string& name, const std::string& tls_name) {
    const std::string check = "certificate " + name;
    auto leaf = shown_certificate(to, tls_name);
    if (!leaf)
      return add({check, Verdict::Fail, leaf.error().what, "is it a relay that answers there?"});
    Finding dates = judge_validity(check, io::clock_seconds(), leaf->not_before(),
                                   leaf->not_after());
    if (dates.verdict == Verdict::Fail) return add(std::move(dates));
    if (!leaf->is_for(tls_name))
      return add({check, Verdict::Fail, "it is not for " + tls_name,
                  "give the relay a certificate of this name; or agents name= of the one it has"});
    dates.what += ", key " + crypto::spki_pin(leaf->spki_der());
    add(std::move(dates));
  }

  static Result<crypto::Certificate> shown_certificate(const Address& to,
                                                       const std::string& tls_name);

  // The relay says its time to whoever speaks plain HTTP to the port (RFC 9110 §6.6.1).
  void clock(const Address& to, const std::string& name) {
    const std::string check = "clock " + name;
    auto connection = io::TcpConversation::connect(to, kPatience);
    if (connection) {
      const std::string_view question = "GET / HTTP/1.0\r\n\r\n";
      std::string head;
      if (connection->send(as_bytes(question))) {
        while (head.size() < 4096 && head.find("\r\n\r\n") == head.npos) {
          auto more = connection->receive(1024);
          if (!more || more->empty()) break;
          head += as_text(*more);
        }
      }
      if (const auto there = date_of_head(head))
        return add(judge_clock(check, io::clock_seconds(), *there));
    }
    add({check, Verdict::Skip, "the relay does not say its time", {}});
  }

  Names& names_;
  std::vector<Finding>& findings_;
};

Result<crypto::Certificate> Doctor::shown_certificate(const Address& to,
                                                      const std::string& tls_name) {
  crypto::ClientTls options;
  options.alpn = {std::string(route::kAlpnH2Link)};
  options.verify = crypto::Verify::Callback;
  options.tls13_only = true;
  auto context = crypto::TlsContext::client(options);
  if (!context) return std::move(context).error();
  auto session = crypto::TlsSession::client(*context, tls_name);
  if (!session) return std::move(session).error();
  auto connection = io::TcpConversation::connect(to, kPatience);
  if (!connection) return std::move(connection).error();
  std::size_t received = 0;
  while (true) {
    if (auto sent = connection->send(session->output()); !sent) return std::move(sent).error();
    session->consume_output(session->output().size());
    if (session->handshake_done())
      return crypto::Certificate::from_der(crypto::peer_certificate_der(session->native()));
    auto more = connection->receive(16 * 1024);
    if (!more) return std::move(more).error();
    received += more->size();
    if (more->empty() || received > kHandshakeBytesMax)
      return Error{EPROTO, "the handshake was cut off"};
    if (auto ok = session->feed(*more); !ok) return std::move(ok).error();
  }
}

// What the configuration says of itself; false: the rest cannot be looked at.
template <class Config>
bool judge_configuration(const Loaded<Config>& loaded, const std::string& file,
                         std::vector<Finding>& findings) {
  const std::string check = file.empty() ? "configuration" : "configuration " + file;
  for (const ConfigError& e : loaded.errors)
    findings.push_back({check, Verdict::Fail, ConfigError{e.source, e.line, e.column, e.what, {},
                                                         e.missing}.text(), e.hint});
  if (loaded) findings.push_back({check, Verdict::Pass, "no errors", {}});
  return static_cast<bool>(loaded);
}

void look_at_relay(const ConfigSources& sources, const Environment& environment, Doctor& doctor,
                   std::vector<Finding>& findings) {
  auto loaded = load_relay_config(sources, environment);
  if (!judge_configuration(loaded, sources.file, findings)) return;
  const RelayConfig& config = loaded.config;
  if (!config.certificate.empty()) {
    const std::string check = "certificate " + config.certificate;
    auto text = crypto::read_file(config.certificate, kPemFileBytesMax);
    auto leaf = text ? crypto::Certificate::from_pem(*text)
                     : Result<crypto::Certificate>(text.error());
    if (!leaf) {
      doctor.add({check, Verdict::Fail, leaf.error().what, "give the chain as PEM"});
    } else {
      doctor.add(judge_validity(check, io::clock_seconds(), leaf->not_before(),
                                leaf->not_after()));
    }
  }
  const std::uint16_t port = config.listen.empty() ? 443 : config.listen.front().address.port;
  for (const std::string& domain : config.domains) {
    doctor.relay({domain, port}, domain);
    doctor.wildcard(domain);
  }
}

void look_at_agent(const ConfigSources& sources, const Environment& environment, Doctor& doctor,
                   std::vector<Finding>& findings) {
  auto loaded = load_agent_config(sources, environment);
  if (!judge_configuration(loaded, sources.file, findings)) return;
  std::error_code error;
  const std::string& key = loaded.config.key;
  if (!std::filesystem::exists(key, error)) {
    doctor.add({"key " + key, Verdict::Skip, "made when the agent runs first", {}});
  } else if (auto text = crypto::read_file(key, kPemFileBytesMax); !text) {
    doctor.add({"key " + key, Verdict::Fail, text.error().what, "run this as the agent's user"});
  } else if (auto parsed = crypto::PrivateKey::from_pem(*text); !parsed) {
    doctor.add({"key " + key, Verdict::Fail, parsed.error().what, "restore it from a copy"});
  } else {
    doctor.add({"key " + key, Verdict::Pass, "id " + parsed->id().text, {}});
  }
  for (const RelayEndpoint& relay : loaded.config.relays)
    doctor.relay(relay.address, relay.name.empty() ? relay.address.host : relay.name);
  for (const ServiceConfig& service : loaded.config.services) {
    doctor.service(service.to);
    if (service.transparent) doctor.transparent(service.to);
  }
}

}  // namespace

Answer run(const DoctorCommand& command, const Environment& environment) {
  crypto::init();
  auto choice = choose_loop(IoBackend::Epoll);
  if (!choice) return {exit_code::kConfiguration, {}, "adit: " + choice.error().what + "\n"};
  auto resolver = io::make_cares_resolver(*choice->loop, {});
  if (!resolver) return {exit_code::kConfiguration, {}, "adit: " + resolver.error().what + "\n"};
  std::vector<Finding> findings;
  {
    Names names(*choice->loop, **resolver);
    Doctor doctor(names, findings);
    if (command.kind == ConfigKind::Relay)
      look_at_relay(command.sources, environment, doctor, findings);
    else
      look_at_agent(command.sources, environment, doctor, findings);
    doctor.machine();
  }
  resolver->reset();
  return doctor_answer(findings, command.json);
}

}  // namespace adit::app
