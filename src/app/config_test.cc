#include "app/config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace adit::app {
namespace {

const Environment kHome{{{"HOME", "/home/u"}}, false};
const std::string kPin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

template <class Config>
std::string text_of(const Loaded<Config>& loaded) {
  std::string out;
  for (const ConfigError& error : loaded.errors) out += error.text() + "\n";
  return out;
}

Loaded<RelayConfig> relay(std::string_view text, const Environment& environment = kHome,
                          std::map<std::string, std::vector<std::string>> flags = {}) {
  return parse_relay_config(text, {"r.toml", std::move(flags)}, environment);
}
Loaded<AgentConfig> agent(std::string_view text, const Environment& environment = kHome,
                          std::map<std::string, std::vector<std::string>> flags = {}) {
  return parse_agent_config(text, {"a.toml", std::move(flags)}, environment);
}

TEST(RelayConfig, DefaultsNeedOnlyAName) {
  const auto loaded = relay("domain = \"T.example.com.\"\n");
  ASSERT_EQ(text_of(loaded), "");
  const RelayConfig& config = loaded.config;
  EXPECT_EQ(config.domains, std::vector<std::string>{"t.example.com"});
  ASSERT_EQ(config.listen.size(), 1u);
  EXPECT_EQ(config.listen[0], (ListenConfig{{IpAddress::any6(), 443}, true, true}));
  EXPECT_EQ(config.state_dir, "/home/u/.local/state/adit");
  EXPECT_EQ(config.authorized_agents, "/home/u/.local/state/adit/authorized_agents");
  EXPECT_EQ(config.admin, "/home/u/.local/state/adit/admin.sock");
  EXPECT_EQ(config.limits, RelayLimits{});
  EXPECT_FALSE(config.open);
  EXPECT_FALSE(config.metrics);
}

constexpr const char* kWholeRelay = R"(
domain = ["t.example.com", "u.example.net"]
listen = [":443", "[2001:db8::7]:443/udp", { address = "192.0.2.1:8443", udp = false }]
state_dir = "/s"
certificate = "c.pem"
key = "k.pem"
authorized_agents = "/etc/adit/agents"
admin = "/run/adit/admin.sock"
metrics = "127.0.0.1:9100"
open = true
threads = 4
io_backend = "epoll"

[log]
format = "json"
level = "debug"

[limits]
visitors_per_address = 10
half_open = 11
hello_deadline_ms = 5000
streams_per_link = 12
links_per_key = 3
retain_stream_bytes = 4194304
retain_session_bytes = 8388608
flows_per_agent = 9
flow_idle_ms = 5000
resume_window_ms = 60000
drain_ms = 0

[[route]]
sni = ["Www.example.com", "*.example.com"]
to = ["10.0.0.1:443", "[::1]:8443", "backend:443"]

[[route]]
to = "10.0.0.2:443"
default = true
)";

TEST(RelayConfig, ReadsEveryKey) {
  const auto loaded = relay(kWholeRelay);
  ASSERT_EQ(text_of(loaded), "");
  const RelayConfig& config = loaded.config;
  EXPECT_EQ(config.domains.size(), 2u);
  ASSERT_EQ(config.listen.size(), 3u);
  EXPECT_EQ(config.listen[1],
            (ListenConfig{{*IpAddress::parse("2001:db8::7"), 443}, false, true}));
  EXPECT_EQ(config.listen[2], (ListenConfig{{IpAddress::v4(192, 0, 2, 1), 8443}, true, false}));
  EXPECT_EQ(config.state_dir, "/s");
  EXPECT_EQ(config.certificate, "c.pem");
  EXPECT_EQ(config.key, "k.pem");
  EXPECT_EQ(config.authorized_agents, "/etc/adit/agents");
  EXPECT_EQ(config.admin, "/run/adit/admin.sock");
  EXPECT_EQ(config.metrics, (Address{IpAddress::loopback4(), 9100}));
  EXPECT_TRUE(config.open);
  EXPECT_EQ(config.threads, 4u);
  EXPECT_EQ(config.io_backend, IoBackend::Epoll);
  EXPECT_EQ(config.log, (LogConfig{LogFormat::Json, LogLevel::Debug}));
  EXPECT_EQ(config.limits,
            (RelayLimits{10, 11, 5s, 12, 3, 4194304, 8388608, 9, 5s, 60s, 0s}));
  ASSERT_EQ(config.routes.size(), 2u);
  EXPECT_EQ(config.routes[0],
            (RouteConfig{{"www.example.com", "*.example.com"},
                         {{"10.0.0.1", 443}, {"::1", 8443}, {"backend", 443}},
                         false}));
  EXPECT_EQ(config.routes[1], (RouteConfig{{}, {{"10.0.0.2", 443}}, true}));
}

TEST(RelayConfig, ReportsEveryFaultAsATable) {
  const struct {
    const char* what;
    std::string text;
    std::string errors;
  } rows[] = {
      {"nothing at all", "",
       "r.toml: the relay has no name; give --domain NAME, ADIT_RELAY_DOMAIN, or domain = \"NAME\" "
       "in the file\n"},
      {"slips of the pen",
       "domian = \"t.example.com\"\nopne = true\ncolour = 1\n[limit]\n[log]\nlevl = \"info\"\n",
       "r.toml:1:1: unknown key \"domian\"; did you mean \"domain\"?\n"
       "r.toml:2:1: unknown key \"opne\"; did you mean \"open\"?\n"
       "r.toml:3:1: unknown key \"colour\"\n"
       "r.toml:4:2: unknown section [limit]; did you mean [limits]?\n"
       "r.toml:6:1: unknown key \"levl\" in [log]; did you mean \"level\"?\n"
       "r.toml: the relay has no name; give --domain NAME, ADIT_RELAY_DOMAIN, or domain = \"NAME\" "
       "in the file\n"},
      {"right key, wrong place",
       "domain = \"a.b\"\nlevel = \"info\"\n[log]\nthreads = 1\n",
       "r.toml:2:1: unknown key \"level\"; \"level\" belongs in [log]\n"
       "r.toml:4:1: unknown key \"threads\" in [log]; \"threads\" belongs before the first "
       "[section]\n"},
      {"wrong types",
       "domain = 7\nthreads = \"4\"\nopen = \"yes\"\nstate_dir = 1.5\nlisten = true\nlog = 3\n"
       "admin = 2026-01-01\n[[limits]]\ndrain_ms = 1\n",
       "r.toml:1:10: domain: expected a string, found a whole number; put it in quotes\n"
       "r.toml:2:11: threads: expected a whole number, found a string; write 4 without quotes\n"
       "r.toml:3:8: open: expected true or false, found a string; write true without quotes\n"
       "r.toml:4:13: state_dir: expected a string, found a decimal number; put it in quotes\n"
       "r.toml:5:10: listen: expected a string, found true or false; put it in quotes\n"
       "r.toml:6:7: log: expected a table, found a whole number; write [log] on a line of its "
       "own\n"
       "r.toml:7:9: admin: expected a string, found a date; put it in quotes\n"
       "r.toml:8:1: limits: expected a table, found an array; write [limits] on a line of its "
       "own\n"},
      {"wrong values",
       "domain = [\"a b\", \"a.b\", \"A.b\", \"\"]\nthreads = 5000\nio_backend = \"urings\"\n"
       "listen = [\"443x\", \"example.com:443\", \":0\", []]\nmetrics = \"9100\\n\"\n",
       "r.toml:1:11: domain: \"a b\" is not a host name: only letters, digits, hyphens, "
       "underscores and dots are allowed\n"
       "r.toml:1:25: domain: the same value twice\n"
       "r.toml:1:32: domain: the string is empty; leave the key out for its default\n"
       "r.toml:2:11: threads: 5000 is out of range (0 to 1024)\n"
       "r.toml:3:14: io_backend: \"urings\" is not \"auto\", \"uring\" or \"epoll\"; did you mean "
       "\"uring\"?\n"
       "r.toml:4:11: listen: \"443x\": the port is missing; write an IP address and a port, or a "
       "port alone, as in \":443\"\n"
       "r.toml:4:19: listen: \"example.com\" is not an IP address; write an IP address and a port, "
       "or a port alone, as in \":443\"\n"
       "r.toml:4:38: listen: \"0\" is not a port (1 to 65535); write an IP address and a "
       "port, or a "
       "port alone, as in \":443\"\n"
       "r.toml:4:44: listen: expected a string, found an array; put it in quotes\n"
       "r.toml:5:11: metrics: the string has control characters\n"},
      {"listeners",
       "domain = \"a.b\"\nlisten = [{ adress = \":1\" }, { address = \":2\", tcp = false, udp = "
       "false },\n  { address = \":3\", tcp = 1 }, \":4\", \":4/udp\"]\n",
       "r.toml:2:11: listen: \"address\" is missing\n"
       "r.toml:2:13: unknown key \"adress\" in [[listen]]; did you mean \"address\"?\n"
       "r.toml:2:30: listen: tcp and udp are both false; leave the listener out\n"
       "r.toml:3:27: listen.tcp: expected true or false, found a whole number\n"
       "r.toml:3:38: listen: [::]:4 is listened on twice\n"},
      {"certificate alone", "domain = \"a.b\"\ncertificate = \"c.pem\"\n",
       "r.toml:2:15: certificate: it has no key; give the key, too\n"},
      {"key alone", "domain = \"a.b\"\nkey = \"k.pem\"\n",
       "r.toml:2:7: key: it has no certificate; give the certificate, too\n"},
      {"limits",
       "domain = \"a.b\"\n[limits]\nretain_session_bytes = 1048576\nhello_deadline_ms = 1\n"
       "resume_window = 3\n",
       "r.toml:3:24: limits.retain_session_bytes: 1048576 is less than retain_stream_bytes "
       "(4194304)\n"
       "r.toml:4:21: limits.hello_deadline_ms: 1 is out of range (100 to 600000)\n"
       "r.toml:5:1: unknown key \"resume_window\" in [limits]; did you mean \"resume_window_ms\"?"
       "\n"},
      {"routes",
       "domain = \"a.b\"\n[[route]]\nsni = \"x.y\"\n[[route]]\nto = \"h:1\"\n[[route]]\n"
       "sni = [\"x.y\", \"*.*\"]\nto = [\"nowhere\"]\n[[route]]\nsni = [\"x.y\", \"x.y\", "
       "\"a.b\"]\n"
       "to = \"h:1\"\ndefault = true\n[[route]]\nto = \"h:2\"\ndefault = true\n[[route]]\nto = []\n"
       "sni = []\ntoo = 1\n",
       "r.toml:2:1: route: \"to\" is missing\n"
       "r.toml:4:1: route: \"sni\" is missing; name a host, or write default = true\n"
       "r.toml:7:15: route.sni: \"*.*\" is not a host name: what follows \"*.\" is not one\n"
       "r.toml:8:7: route.to: \"nowhere\": the port is missing\n"
       "r.toml:9:1: route.sni: \"x.y\" is routed twice\n"
       "r.toml:9:1: route.sni: \"a.b\" is the relay's own name; the relay answers it itself; take "
       "another\n"
       "r.toml:13:1: route.default: a second default route\n"
       "r.toml:17:6: route.to: the array is empty; leave the key out for its default\n"
       "r.toml:18:7: route.sni: the array is empty; leave the key out for its default\n"
       "r.toml:19:1: unknown key \"too\" in [[route]]; did you mean \"to\"?\n"},
  };
  for (const auto& row : rows) EXPECT_EQ(text_of(relay(row.text)), row.errors) << row.what;
}

TEST(RelayConfig, SyntaxErrorSaysWhere) {
  for (const char* text : {"domain = \n", "domain = \"a\"\ndomain = \"b\"\n", "[log\n",
                           "x = \"\xff\"\n", "= 1\n", "[[[a]]]\n", "x = \xc3\x93\n"}) {
    const auto loaded = relay(text);
    ASSERT_EQ(loaded.errors.size(), 1u) << text;
    EXPECT_EQ(loaded.errors[0].source, "r.toml");
    EXPECT_GT(loaded.errors[0].line, 0u);
    EXPECT_GT(loaded.errors[0].column, 0u);
    EXPECT_FALSE(loaded.errors[0].what.empty());
  }
}

TEST(RelayConfig, BareWordGetsAHint) {
  for (const char* text : {"domain = t.example.com\n", "domain = a.example.com\n"}) {
    const auto loaded = relay(text);
    ASSERT_EQ(loaded.errors.size(), 1u) << text;
    EXPECT_EQ(loaded.errors[0].line, 1u) << text;
    EXPECT_EQ(loaded.errors[0].hint, "a string needs quotes") << text;
  }
}

TEST(RelayConfig, ErrorsAreBounded) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "unknown" + std::to_string(i) + " = 1\n";
  EXPECT_LE(relay(text).errors.size(), 101u);
}

TEST(RelayConfig, FlagBeforeEnvironmentBeforeFile) {
  const std::string text = "domain = \"file.test\"\nthreads = 1\nopen = true\n[log]\nlevel = "
                           "\"error\"\n";
  Environment environment = kHome;
  environment.variables["ADIT_RELAY_THREADS"] = "2";
  environment.variables["ADIT_RELAY_DOMAIN"] = "a.test,b.test c.test";
  environment.variables["ADIT_RELAY_LOG_LEVEL"] = "warn";
  environment.variables["ADIT_RELAY_OPEN"] = "";  // empty: as if unset
  environment.variables["ADIT_RELAY_ROUTE"] = "x.test,y.test=h:1,h:2 *=h:3";
  const auto loaded = relay(text, environment,
                            {{"threads", {"3"}}, {"listen", {":1/tcp", ":2"}}, {"open", {"no"}}});
  ASSERT_EQ(text_of(loaded), "");
  EXPECT_EQ(loaded.config.threads, 3u);
  EXPECT_EQ(loaded.config.log.level, LogLevel::Warn);
  EXPECT_EQ(loaded.config.domains, (std::vector<std::string>{"a.test", "b.test", "c.test"}));
  EXPECT_FALSE(loaded.config.open);
  ASSERT_EQ(loaded.config.listen.size(), 2u);
  EXPECT_FALSE(loaded.config.listen[0].udp);
  ASSERT_EQ(loaded.config.routes.size(), 2u);
  EXPECT_EQ(loaded.config.routes[0],
            (RouteConfig{{"x.test", "y.test"}, {{"h", 1}, {"h", 2}}, false}));
  EXPECT_EQ(loaded.config.routes[1], (RouteConfig{{}, {{"h", 3}}, true}));
}

TEST(RelayConfig, ErrorsOfFlagsAndEnvironmentNameThem) {
  Environment environment = kHome;
  environment.variables["ADIT_RELAY_THREADS"] = "many";
  environment.variables["ADIT_RELAY_LIMITS_DRAIN_MS"] = "-1";
  const auto loaded = relay("domain = \"a.b\"\nthreads = \"x\"\n", environment,
                            {{"open", {"maybe"}}, {"route", {"nothing"}}});
  EXPECT_EQ(text_of(loaded),
            "r.toml:2:11: threads: expected a whole number, found a string\n"
            "ADIT_RELAY_THREADS: \"many\" is not a whole number\n"
            "ADIT_RELAY_LIMITS_DRAIN_MS: -1 is out of range (0 to 86400000)\n"
            "--open: \"maybe\" is not true or false\n"
            "--route: \"nothing\" is not SNI=HOST:PORT\n");
}

TEST(RelayConfig, WarnsOfVariablesThatAreNearlyOurs) {
  Environment environment = kHome;
  environment.variables["ADIT_RELAY_DOMIAN"] = "x";
  environment.variables["ADIT_RELAY_PORT_443_TCP_ADDR"] = "10.0.0.1";  // as Kubernetes makes them
  environment.variables["ADIT_RELAY_CONFIG"] = "r.toml";
  const auto loaded = relay("domain = \"a.b\"\n", environment);
  EXPECT_TRUE(loaded);
  ASSERT_EQ(loaded.warnings.size(), 1u);
  EXPECT_EQ(loaded.warnings[0].text(),
            "ADIT_RELAY_DOMIAN: this variable means nothing to adit; did you mean "
            "\"ADIT_RELAY_DOMAIN\"?");
}

constexpr const char* kWholeAgent = R"(
state_dir = "/s"
key = "/s/id.key"
roots = "ca.pem"
io_backend = "uring"

[log]
format = "json"
level = "warn"

[[relay]]
address = "T.example.com"

[[relay]]
address = "[2001:db8::1]:4433"
name = "relay.example.com"
pin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"

[[service]]
to = 3000
)";

TEST(AgentConfig, ReadsEveryKey) {
  std::string text = kWholeAgent;
  text.replace(text.find("to = 3000"), 9, "to = \"3000\"");
  text += "\n[[service]]\nkind = \"tls\"\nname = [\"Blog\", \"*.example.com\"]\nto = "
          "\"[::1]:8443\"\nmode = \"passthrough\"\n\n[[service]]\nname = \"c.example.com\"\nto = "
          "\"h:80\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
  const auto loaded = agent(text);
  ASSERT_EQ(text_of(loaded), "");
  const AgentConfig& config = loaded.config;
  EXPECT_EQ(config.state_dir, "/s");
  EXPECT_EQ(config.key, "/s/id.key");
  EXPECT_EQ(config.roots, "ca.pem");
  EXPECT_EQ(config.io_backend, IoBackend::Uring);
  EXPECT_EQ(config.log, (LogConfig{LogFormat::Json, LogLevel::Warn}));
  ASSERT_EQ(config.relays.size(), 2u);
  EXPECT_EQ(config.relays[0], (RelayEndpoint{{"t.example.com", 443}, "t.example.com", ""}));
  EXPECT_EQ(config.relays[1], (RelayEndpoint{{"2001:db8::1", 4433}, "relay.example.com", kPin}));
  ASSERT_EQ(config.services.size(), 3u);
  EXPECT_EQ(config.services[0], (ServiceConfig{ServiceKind::Tls, TlsMode::Terminate, {"{id}"},
                                               {"127.0.0.1", 3000}, "", ""}));
  EXPECT_EQ(config.services[1],
            (ServiceConfig{ServiceKind::Tls, TlsMode::Passthrough, {"blog", "*.example.com"},
                           {"::1", 8443}, "", ""}));
  EXPECT_EQ(config.services[2],
            (ServiceConfig{ServiceKind::Tls, TlsMode::Terminate, {"c.example.com"}, {"h", 80},
                           "c.pem", "k.pem"}));
}

TEST(AgentConfig, ReportsEveryFaultAsATable) {
  const std::string relay_line = "relay = \"r.test\"\n";
  const struct {
    const char* what;
    std::string text;
    std::string errors;
  } rows[] = {
      {"nothing at all", "",
       "a.toml: there is no relay; give --relay HOST, ADIT_AGENT_RELAY, or a [[relay]] in the "
       "file\n"
       "a.toml: there is no service; give --service HOST:PORT, ADIT_AGENT_SERVICE, or a "
       "[[service]] "
       "in the file\n"},
      {"relays",
       "service = \"1\"\n[[relay]]\naddress = \"443\"\n[[relay]]\naddress = \"a b\"\nname = "
       "\"-x\"\npin = \"sha256/AAAA\"\n[[relay]]\nadress = \"r.test\"\n[[relay]]\naddress = "
       "\"r.test\"\n[[relay]]\naddress = \"R.test:443\"\nname = \"x\"\n",
       "a.toml:3:11: relay.address: \"443\" is not a host\n"
       "a.toml:5:11: relay.address: \"a b\" is not a host name: only letters, digits, hyphens, "
       "underscores and dots are allowed\n"
       "a.toml:6:8: relay.name: \"-x\" is not a host name: a label starts with a hyphen\n"
       "a.toml:7:7: relay.pin: \"sha256/AAAA\" is not a pin: sha256/ and the base64 of 32 bytes\n"
       "a.toml:8:1: relay: \"address\" is missing\n"
       "a.toml:9:1: unknown key \"adress\" in [[relay]]; did you mean \"address\"?\n"
       "a.toml:12:1: relay.address: r.test:443 is linked to twice\n"},
      {"services",
       relay_line +
           "[[service]]\nto = \"1\"\nkind = \"raw\"\nmode = \"passthru\"\n[[service]]\nname = "
           "\"{id\"\n[[service]]\nto = \"2\"\ncertificate = \"c\"\n[[service]]\nto = \"3\"\nmode = "
           "\"passthrough\"\nkey = \"k\"\n[[service]]\nto = \"4\"\n[[service]]\nto = \"5\"\n"
           "[[service]]\nto = \"6\"\nname = [\"n\", \"n\"]\n",
       "a.toml:4:8: service.kind: \"raw\" is not \"tls\", \"tcp\", \"udp\" or \"http\"\n"
       "a.toml:5:8: service.mode: \"passthru\" is not \"terminate\" or \"passthrough\"; did you "
       "mean \"passthrough\"?\n"
       "a.toml:6:1: service: \"to\" is missing\n"
       "a.toml:7:8: service.name: \"{id\" is not a host name: only letters, digits, hyphens, "
       "underscores and dots are allowed\n"
       "a.toml:8:1: service: certificate and key belong together; give both or none\n"
       "a.toml:14:7: service: in the mode passthrough the certificate is the local service's own; "
       "leave certificate and key out, or write mode = \"terminate\"\n"
       "a.toml:17:1: service.name: \"{id}\" is asked for twice; give each service a name of its "
       "own\n"
       "a.toml:19:1: service.name: \"n\" is asked for twice\n"},
      {"a relay's key", relay_line + "service = \"1\"\ndomain = \"x\"\n",
       "a.toml:3:1: unknown key \"domain\"; \"domain\" belongs in [acme]\n"},
  };
  for (const auto& row : rows) EXPECT_EQ(text_of(agent(row.text)), row.errors) << row.what;
}

TEST(AgentConfig, ItemsAsWords) {
  Environment environment = kHome;
  environment.variables["ADIT_AGENT_RELAY"] = "r.test:4433,name=x.test,pin=" + kPin + " s.test";
  const auto loaded =
      agent("", environment,
            {{"service",
              {"3000,name=a.test,name=b.test", "[::1]:1,mode=passthrough,name=c.test"}}});
  ASSERT_EQ(text_of(loaded), "");
  EXPECT_EQ(loaded.config.relays[0], (RelayEndpoint{{"r.test", 4433}, "x.test", kPin}));
  EXPECT_EQ(loaded.config.relays[1].address.text(), "s.test:443");
  EXPECT_EQ(loaded.config.services[0].names, (std::vector<std::string>{"a.test", "b.test"}));
  EXPECT_EQ(loaded.config.services[1].mode, TlsMode::Passthrough);

  EXPECT_EQ(text_of(agent("", kHome,
                          {{"relay", {"r.test,pin", "r.test,pin=1,pin=2"}},
                           {"service", {"3000,nam=x", "x,certificate=c"}}})),
            "--relay: \"pin\" is not KEY=VALUE\n"
            "--relay: expected a string, found an array; put it in quotes\n"
            "--service: unknown key \"nam\" in [[service]]; did you mean \"name\"?\n"
            "--service: \"x\": the port is missing\n"
            "--service: certificate and key belong together; give both or none\n");
}

TEST(RelayConfig, PrivilegedPorts) {
  const std::string domain = "domain = \"a.b\"\n";
  const auto loaded =
      relay(domain + "privileged_ports = [\"80/tcp\", 53, \"600-602/udp\", \"600/tcp\"]\n");
  ASSERT_EQ(text_of(loaded), "");
  const std::vector<PrivilegedPorts> wanted = {
      {{80, 80}, true, false}, {{53, 53}}, {{600, 602}, false, true}, {{600, 600}, true, false}};
  EXPECT_EQ(loaded.config.privileged_ports, wanted);
  const auto again = relay(print(loaded.config, PrintMode::Effective, kHome));
  EXPECT_TRUE(loaded.config == again.config);
  const struct {
    const char* value;
    const char* error;
  } rows[] = {
      {"\"80/sctp\"", "\"80/sctp\" ends in neither /tcp nor /udp"},
      {"\"80-79\"", "\"80-79\" ends before it starts"},
      {"\"80\", \"79-81/udp\"", "79-81 is there twice"},
      {"\"443/udp\"", "port 443 is the relay's own"},
      {"\"1-257/tcp\"", "more than 256 ports"},
  };
  for (const auto& row : rows) {
    const std::string text = text_of(relay(domain + "privileged_ports = [" + row.value + "]\n"));
    EXPECT_NE(text.find(std::string("privileged_ports: ") + row.error), text.npos) << text;
  }
}

TEST(AgentConfig, ServicesWithPorts) {
  const std::string relay_line = "relay = \"r.test\"\n";
  const auto loaded = agent(relay_line +
                            "[[service]]\nkind = \"tcp\"\nport = 5000\nto = \"127.0.0.1:22\"\n"
                            "[[service]]\nkind = \"udp\"\nport = \"5000-5009\"\nto = \"h:53\"\n"
                            "proxy = \"v2\"\n"
                            "[[service]]\nto = \"h:443\"\nmode = \"passthrough\"\n"
                            "to_udp = \"h:443\"\n");
  ASSERT_EQ(text_of(loaded), "");
  ASSERT_EQ(loaded.config.services.size(), 3u);
  const ServiceConfig& tcp = loaded.config.services[0];
  EXPECT_EQ(tcp.kind, ServiceKind::Tcp);
  EXPECT_EQ(tcp.port, (PortRange{5000, 5000}));
  EXPECT_TRUE(tcp.names.empty());
  const ServiceConfig& udp = loaded.config.services[1];
  EXPECT_EQ(udp.kind, ServiceKind::Udp);
  EXPECT_EQ(udp.port, (PortRange{5000, 5009}));
  EXPECT_EQ(udp.proxy, ProxyWord::V2);
  EXPECT_EQ(loaded.config.services[2].to_udp, (HostPort{"h", 443}));
  const auto again = agent(print(loaded.config, PrintMode::Effective, kHome));
  EXPECT_TRUE(loaded.config == again.config);

  const struct {
    const char* service;
    const char* error;
  } rows[] = {
      {"to = \"1\"\nport = 5000\n",
       "a.toml:4:8: service.port: a service of kind \"tls\" has a name, and no port; write kind = "
       "\"tcp\"\n"},
      {"kind = \"tcp\"\nto = \"1\"\n",
       "a.toml:2:1: service: a service of kind \"tcp\" needs a port of the relay; add port = 5000, "
       "or a range as in port = \"5000-5010\"\n"},
      {"kind = \"udp\"\nto = \"1\"\nport = 7\nname = \"x\"\n",
       "a.toml:6:8: service.name: a service of kind \"udp\" has no name; leave it out\n"},
      {"kind = \"udp\"\nto = \"1\"\nport = 7\nproxy = \"v1\"\n",
       "a.toml:6:9: service.proxy: version 1 is for TCP only; write proxy = \"v2\"\n"},
      {"kind = \"tcp\"\nto = \"1\"\nport = \"9-8\"\n",
       "a.toml:5:8: service.port: \"9-8\" ends before it starts\n"},
      {"kind = \"tcp\"\nto = \"65535\"\nport = \"1-2\"\n",
       "a.toml:2:1: service.port: the range leads beyond port 65535 of the local service\n"},
      {"kind = \"tcp\"\nto = \"1\"\nport = \"1-257\"\n",
       "a.toml:2:1: service.port: more than 256 ports\n"},
      {"kind = \"tcp\"\nto = \"1\"\nport = \"1-9\"\n[[service]]\nkind = \"tcp\"\nto = "
       "\"2\"\nport = 9\n",
       "a.toml:6:1: service.port: 9 is asked for twice\n"},
  };
  for (const auto& row : rows)
    EXPECT_EQ(text_of(agent(relay_line + "[[service]]\n" + row.service)), row.error);
}

TEST(AgentConfig, TransparentServicesHaveAnAddress) {
  const std::string relay_line = "relay = \"r.test\"\n";
  const auto loaded = agent(relay_line +
                            "[[service]]\nto = \"localhost:22\"\ntransparent = true\n"
                            "[[service]]\nname = \"x\"\nto = \"[fd00::1]:80\"\n"
                            "to_udp = \"h:1\"\ntransparent = false\n");
  ASSERT_EQ(text_of(loaded), "");
  EXPECT_TRUE(loaded.config.services[0].transparent);
  EXPECT_FALSE(loaded.config.services[1].transparent);
  const auto again = agent(print(loaded.config, PrintMode::Effective, kHome));
  EXPECT_TRUE(loaded.config == again.config);
  EXPECT_EQ(text_of(agent(relay_line + "[[service]]\nto = \"h.test:22\"\ntransparent = true\n")),
            "a.toml:3:6: service.to: \"h.test\" is not an address, as a transparent service needs "
            "one; write the address; localhost is both 127.0.0.1 and ::1\n");
  EXPECT_EQ(text_of(agent(relay_line + "[[service]]\nto = \"22\"\nto_udp = \"h.test:22\"\n"
                                       "transparent = true\n")),
            "a.toml:4:10: service.to_udp: \"h.test\" is not an address, as a transparent service "
            "needs one; write the address; localhost is both 127.0.0.1 and ::1\n");
  EXPECT_EQ(text_of(agent(relay_line + "[[service]]\nto = \"22\"\ntransparent = 1\n")),
            "a.toml:4:15: service.transparent: expected true or false, found a whole number\n");
}

TEST(AgentConfig, ServicesOfHttp) {
  const std::string relay_line = "relay = \"r.test\"\n";
  const auto loaded = agent(relay_line +
                            "[[service]]\nkind = \"http\"\nto = \"3000\"\nname = \"shop\"\n"
                            "[[service]]\nkind = \"http\"\nto = \"3001\"\ntimeout = 5\n");
  ASSERT_EQ(text_of(loaded), "");
  EXPECT_EQ(loaded.config.services[0].kind, ServiceKind::Http);
  EXPECT_EQ(loaded.config.services[0].names, (std::vector<std::string>{"shop"}));
  EXPECT_EQ(loaded.config.services[0].timeout, 120u);
  EXPECT_EQ(loaded.config.services[1].timeout, 5u);
  const auto again = agent(print(loaded.config, PrintMode::Effective, kHome));
  EXPECT_TRUE(loaded.config == again.config);
  const struct {
    const char* service;
    const char* error;
  } rows[] = {
      {"kind = \"http\"\nto = \"1\"\nmode = \"passthrough\"\n",
       "a.toml:5:8: service.mode: of a service of kind \"http\" TLS ends at the agent; write "
       "kind = \"tls\" to pass it through\n"},
      {"kind = \"http\"\nto = \"1\"\nproxy = \"v2\"\n",
       "a.toml:5:9: service.proxy: a service of kind \"http\" gets Forwarded and X-Forwarded-For "
       "instead; leave it out, or write kind = \"tls\"\n"},
      {"kind = \"http\"\nto = \"1\"\nto_udp = \"1\"\n",
       "a.toml:5:10: service.to_udp: a service of kind \"http\" has no to_udp; write kind = "
       "\"tls\"\n"},
      {"kind = \"http\"\nto = \"1\"\nport = 5\n",
       "a.toml:5:8: service.port: a service of kind \"http\" has a name, and no port; write kind = "
       "\"tcp\"\n"},
      {"kind = \"http\"\nto = \"1\"\ntransparent = true\n",
       "a.toml:5:15: service.transparent: connections to a service of kind \"http\" are not one "
       "visitor's; leave it out, or write kind = \"tls\"\n"},
      {"to = \"1\"\ntimeout = 5\n",
       "a.toml:4:11: service.timeout: only a service of kind \"http\" has a timeout; leave it "
       "out, or write kind = \"http\"\n"},
      {"kind = \"http\"\nto = \"1\"\ntimeout = 0\n",
       "a.toml:5:11: service.timeout: 0 is out of range (1 to 3600)\n"},
  };
  for (const auto& row : rows)
    EXPECT_EQ(text_of(agent(relay_line + "[[service]]\n" + row.service)), row.error);
}

TEST(Config, PrintsWhatLoadsToTheSame) {
  for (const PrintMode mode : {PrintMode::Effective, PrintMode::Changed}) {
    for (const char* text : {"domain = \"a.b\"\n", kWholeRelay}) {
      const auto first = relay(text);
      const auto second = relay(print(first.config, mode, kHome));
      EXPECT_EQ(text_of(second), "");
      EXPECT_TRUE(first.config == second.config) << print(second.config, mode, kHome);
    }
    std::string text = kWholeAgent;
    text.replace(text.find("3000"), 4, "\"3000,name=x\"");
    text.replace(text.find("[[service]]\nto"), 14, "[[service]]\ncertificate = \"a \\\"b\\\" \\\\c"
                                                   "\"\nkey = \"\\u00fc\"\nto");
    text.replace(text.find(",name=x"), 7, "");
    const auto first = agent(text);
    EXPECT_EQ(text_of(first), "");
    const auto second = agent(print(first.config, mode, kHome));
    EXPECT_EQ(text_of(second), "");
    EXPECT_TRUE(first.config == second.config) << print(second.config, mode, kHome);
  }
}

TEST(Config, PrintsAsTheGoldenTextSays) {
  EXPECT_EQ(print(relay("domain = \"a.b\"\n").config, PrintMode::Changed, kHome),
            "domain = [\"a.b\"]\n");
  EXPECT_EQ(print(relay("domain = \"a.b\"\n").config, PrintMode::Effective, kHome),
            R"(domain = ["a.b"]
listen = ["[::]:443"]
state_dir = "/home/u/.local/state/adit"
authorized_agents = "/home/u/.local/state/adit/authorized_agents"
admin = "/home/u/.local/state/adit/admin.sock"
open = false
threads = 0
io_backend = "auto"
sandbox = "on"

[log]
format = "text"
level = "info"

[acme]
staging = false
renew_days = 0
challenge = "tls-alpn-01"

[limits]
visitors_per_address = 1024
half_open = 16384
hello_deadline_ms = 10000
streams_per_link = 1024
links_per_key = 4
retain_stream_bytes = 4194304
retain_session_bytes = 67108864
flows_per_agent = 1024
flow_idle_ms = 120000
resume_window_ms = 30000
drain_ms = 30000
probe_ms = 10000

[node]
key_fd = -1
only_allowed = false
diagnostic = false
compression = true
connect_data = true
old_gateway = true
long_poll_ms = 4000
sessions = 20000
buffer_bytes = 100663296
body_bytes = 16777216
)");
}

TEST(Config, StateDirectoryByEnvironment) {
  const struct {
    Environment environment;
    const char* state_dir;
  } rows[] = {
      {{{}, true}, "/var/lib/adit"},
      {{{{"HOME", "/root"}}, true}, "/var/lib/adit"},
      {{{{"STATE_DIRECTORY", "/var/lib/x:/var/lib/y"}}, true}, "/var/lib/x"},
      {{{{"XDG_STATE_HOME", "/x"}, {"HOME", "/h"}}, false}, "/x/adit"},
      {{{{"HOME", "/h"}}, false}, "/h/.local/state/adit"},
      {{{}, false}, ""},
  };
  for (const auto& row : rows) EXPECT_EQ(default_state_dir(row.environment), row.state_dir);
  EXPECT_EQ(text_of(relay("domain = \"a.b\"\n", {{}, false})),
            "r.toml: there is no state directory: HOME is not set; give --state-dir DIR\n");
}

TEST(Config, KeysHaveFlagsAndVariables) {
  const auto keys = relay_config_keys();
  const auto found = std::find_if(keys.begin(), keys.end(), [](const ConfigKeyInfo& key) {
    return key.path == "limits.drain_ms";
  });
  ASSERT_NE(found, keys.end());
  EXPECT_EQ(found->flag, "--limits-drain-ms");
  EXPECT_EQ(found->variable, "ADIT_RELAY_LIMITS_DRAIN_MS");
  EXPECT_EQ(found->fallback, "30000");
  for (const auto& all : {relay_config_keys(), agent_config_keys()})
    for (const ConfigKeyInfo& key : all) EXPECT_FALSE(key.help.empty()) << key.path;
}

TEST(Config, GuessesTheKindOfAFile) {
  EXPECT_EQ(guess_config_kind("domain = \"x\""), ConfigKind::Relay);
  EXPECT_EQ(guess_config_kind("[[service]]"), ConfigKind::Agent);
  EXPECT_EQ(guess_config_kind("[[relay]]"), ConfigKind::Agent);
  EXPECT_EQ(guess_config_kind("= no TOML"), ConfigKind::Relay);
}

TEST(Config, PinIsTheBase64Of32Bytes) {
  EXPECT_EQ(*parse_pin(kPin), kPin);
  EXPECT_EQ(*parse_pin(kPin.substr(0, kPin.size() - 1)), kPin);
  for (const std::string& bad :
       {std::string("sha256/"), std::string("sha1/") + kPin.substr(7), kPin + "=",
        "sha256/" + std::string(42, 'A') + "B=", "sha256/" + std::string(43, '-')})
    EXPECT_FALSE(parse_pin(bad)) << bad;
}

TEST(Config, FileThatCannotBeReadSaysSo) {
  const auto missing = load_relay_config({"/nonexistent/r.toml", {}}, kHome);
  EXPECT_EQ(text_of(missing),
            "/nonexistent/r.toml: cannot open: No such file or directory\n");
  EXPECT_FALSE(load_relay_config({"/", {}}, kHome));

  std::string path = testing::TempDir() + "adit_config_test.toml";
  std::ofstream(path) << "domain = \"a.b\"\n";
  EXPECT_EQ(load_relay_config({path, {}}, kHome).config.domains.front(), "a.b");
  std::ofstream(path) << std::string(kConfigFileBytesMax + 1, '#');
  EXPECT_EQ(text_of(load_relay_config({path, {}}, kHome)), path + ": over 1 MiB\n");
  std::remove(path.c_str());
}

}  // namespace
}  // namespace adit::app
