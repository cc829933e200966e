#include "app/command_line.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "app/version.h"

namespace adit::app {
namespace {

const Environment kHome{{{"HOME", "/h"}}, false};
const std::string kId = "aaaaaaaaaaaaaaaaaaaaaaaaa2";
const std::string kPin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  while (!line.empty()) {
    const std::size_t blank = line.find(' ');
    out.emplace_back(line.substr(0, blank));
    line.remove_prefix(blank == line.npos ? line.size() : blank + 1);
  }
  return out;
}

std::variant<Command, Answer> parse(std::string_view line, const Environment& environment = kHome) {
  return parse_command_line(words(line), environment);
}

template <class Type>
Type command(std::string_view line, const Environment& environment = kHome) {
  auto parsed = parse(line, environment);
  if (auto* answer = std::get_if<Answer>(&parsed)) {
    ADD_FAILURE() << line << ": " << answer->err;
    return {};
  }
  auto* found = std::get_if<Type>(&std::get<Command>(parsed));
  if (found == nullptr) {
    ADD_FAILURE() << line << ": another command";
    return {};
  }
  return std::move(*found);
}

Answer answer(std::string_view line, const Environment& environment = kHome) {
  auto parsed = parse(line, environment);
  auto* found = std::get_if<Answer>(&parsed);
  EXPECT_NE(found, nullptr) << line;
  return found == nullptr ? Answer{-1, {}, {}} : *found;
}

// What would do nothing is not offered.
TEST(CommandLine, ExposesAPort) {
  const auto tcp = command<ExposeCommand>("expose 22 --relay r.test --port 5000");
  EXPECT_EQ(tcp.config.services[0].kind, ServiceKind::Tcp);
  EXPECT_EQ(tcp.config.services[0].port, (PortRange{5000, 5000}));
  EXPECT_TRUE(tcp.config.services[0].names.empty());
  const auto udp = command<ExposeCommand>("expose 53 --relay r.test --port 5000-5009 --udp");
  EXPECT_EQ(udp.config.services[0].kind, ServiceKind::Udp);
  EXPECT_EQ(udp.config.services[0].port, (PortRange{5000, 5009}));
  EXPECT_EQ(answer("expose 22 --relay r.test --udp").exit_code, exit_code::kUsage);
  EXPECT_EQ(answer("expose 22 --relay r.test --port 0").exit_code, exit_code::kUsage);
  EXPECT_EQ(answer("expose 22 --relay r.test --port 1 --name a").exit_code, exit_code::kUsage);
}

TEST(CommandLine, ExposeHasNoStatusOfItsOwn) {
  for (const char* flag : {"--admin", "--metrics"}) {
    const Answer a = answer(std::string("expose 3000 --relay r.test ") + flag + " 127.0.0.1:9100");
    EXPECT_EQ(a.exit_code, exit_code::kUsage) << flag;
    EXPECT_NE(a.err.find("unknown option"), a.err.npos) << a.err;
  }
}

TEST(CommandLine, RelayTakesItsFlags) {
  const auto relay = command<RelayCommand>(
      "relay --domain a.test --domain b.test --listen [::1]:443 --open --threads=2 "
      "--limits-drain-ms 5 --route x.test=h:1 --log-level debug");
  EXPECT_EQ(relay.config.domains, (std::vector<std::string>{"a.test", "b.test"}));
  EXPECT_EQ(relay.config.listen.front().address.text(), "[::1]:443");
  EXPECT_TRUE(relay.config.open);
  EXPECT_EQ(relay.config.threads, 2u);
  EXPECT_EQ(relay.config.limits.drain, 5ms);
  EXPECT_EQ(relay.config.routes.size(), 1u);
  EXPECT_EQ(relay.config.log.level, LogLevel::Debug);
  // The same again, as SIGHUP would.
  EXPECT_TRUE(load_relay_config(relay.sources, kHome).config == relay.config);
}

TEST(CommandLine, SwitchCanBeTurnedOffAgain) {
  Environment environment = kHome;
  environment.variables["ADIT_RELAY_OPEN"] = "true";
  EXPECT_TRUE(command<RelayCommand>("relay --domain a.test", environment).config.open);
  EXPECT_FALSE(
      command<RelayCommand>("relay --domain a.test --open=false", environment).config.open);
}

TEST(CommandLine, AgentReadsItsFile) {
  const std::string path = testing::TempDir() + "adit_command_line_test.toml";
  std::ofstream(path) << "relay = \"r.test\"\nservice = \"3000\"\n";
  const auto agent = command<AgentCommand>("agent -c " + path + " --relay [2001:db8::1]");
  EXPECT_EQ(agent.config.relays.front().address.text(), "[2001:db8::1]:443");
  EXPECT_EQ(agent.config.services.front().to.port, 3000);
  EXPECT_EQ(agent.sources.file, path);

  Environment environment = kHome;
  environment.variables["ADIT_AGENT_CONFIG"] = path;
  EXPECT_EQ(command<AgentCommand>("agent", environment).config.relays.front().name, "r.test");

  std::ofstream(path) << "realy = \"r.test\"\nservice = 1\n";
  const Answer refused = answer("agent -c " + path);
  EXPECT_EQ(refused.exit_code, exit_code::kConfiguration);
  EXPECT_EQ(refused.err,
            path + ":1:1: unknown key \"realy\"; did you mean \"relay\"?\n" + path +
                ":2:11: service: expected a string, found a whole number; put it in quotes\n" +
                path + ": there is no relay; give --relay HOST, ADIT_AGENT_RELAY, or a "
                       "[[relay]] in "
                       "the file\n");
  std::filesystem::remove(path);
}

TEST(CommandLine, ExposeMakesOneService) {
  const auto plain = command<ExposeCommand>("expose 3000 --relay t.example.com");
  EXPECT_EQ(plain.config.relays.front().address.text(), "t.example.com:443");
  EXPECT_EQ(plain.config.key, "/h/.local/state/adit/agent.key");
  ASSERT_EQ(plain.config.services.size(), 1u);
  EXPECT_EQ(plain.config.services[0],
            (ServiceConfig{ServiceKind::Tls, TlsMode::Terminate, {"{id}"}, {"127.0.0.1", 3000}, "",
                           ""}));
  EXPECT_FALSE(plain.json);

  Environment environment = kHome;
  environment.variables["ADIT_AGENT_RELAY"] = "r.test s.test,pin=" + kPin;
  environment.variables["ADIT_AGENT_SERVICE"] = "1 2";  // expose has its own
  const auto whole = command<ExposeCommand>(
      "expose [::1]:8443 --passthrough --json --name a.test --name B --key k.pem --relay-pin "
      "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      environment);
  ASSERT_EQ(whole.config.relays.size(), 2u);
  EXPECT_EQ(whole.config.relays[0].pin, "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
  EXPECT_EQ(whole.config.relays[1].pin, kPin);
  ASSERT_EQ(whole.config.services.size(), 1u);
  EXPECT_EQ(whole.config.services[0],
            (ServiceConfig{ServiceKind::Tls, TlsMode::Passthrough, {"a.test", "b"}, {"::1", 8443},
                           "", ""}));
  EXPECT_EQ(whole.config.key, "k.pem");
  EXPECT_TRUE(whole.json);
}

TEST(CommandLine, CommandsAboutTheRelayFindItsFiles) {
  EXPECT_EQ(command<StatusCommand>("status").admin, "/h/.local/state/adit/admin.sock");
  EXPECT_TRUE(command<StatusCommand>("status --json --admin /a").json);
  EXPECT_EQ(command<ReloadCommand>("reload --state-dir /s").admin, "/s/admin.sock");
  EXPECT_EQ(command<DenyCommand>("deny " + kId + " --file f").file, "f");
  EXPECT_EQ(command<KeysCommand>("keys").key, "/h/.local/state/adit/agent.key");
  EXPECT_EQ(command<KeysCommand>("keys --key k").key, "k");
  EXPECT_EQ(command<KeysCommand>("keys", {{}, true}).key, "/var/lib/adit/agent.key");

  Environment environment = kHome;
  environment.variables["ADIT_RELAY_STATE_DIR"] = "/e";
  EXPECT_EQ(command<AllowCommand>("allow " + kId, environment).file, "/e/authorized_agents");
  environment.variables["ADIT_RELAY_AUTHORIZED_AGENTS"] = "/e/list";
  EXPECT_EQ(command<AllowCommand>("allow " + kId, environment).file, "/e/list");

  const auto allow = command<AllowCommand>(
      "allow " + kId + " --name Blog --name *.a.test --port 1 --port 5-9 --rate 2K --streams 3");
  EXPECT_EQ(allow.grant,
            (route::AgentGrant{kId, {"blog", "*.a.test"}, {{1, 1}, {5, 9}}, 3, 2000}));
  EXPECT_EQ(answer("status", {{}, false}).err,
            "adit: HOME is not set: give --state-dir (see adit status --help)\n");
}

TEST(CommandLine, UsageErrorsAreOneLineWithAHint) {
  const struct {
    const char* line;
    const char* err;
  } rows[] = {
      {"rely", "adit: unknown command \"rely\"; did you mean \"relay\"? (see adit --help)\n"},
      {"--verbose", "adit: unknown option \"--verbose\" (see adit --help)\n"},
      {"relay --domian=a.test",
       "adit: unknown option \"--domian\"; did you mean \"--domain\"? (see adit relay --help)\n"},
      {"relay extra", "adit: unexpected argument \"extra\" (see adit relay --help)\n"},
      {"relay --domain", "adit: --domain: 1 required NAME missing (see adit relay --help)\n"},
      {"relay --threads 1 --threads 2",
       "adit: --threads: At Most 1 required but received 2 (see adit relay --help)\n"},
      {"relay",
       "adit: the relay has no name; give --domain NAME, ADIT_RELAY_DOMAIN, or domain = \"NAME\" "
       "in the file\n"},
      {"relay --domain a.test --threads x", "--threads: \"x\" is not a whole number\n"},
      {"expose", "adit: target is required (see adit expose --help)\n"},
      {"expose x --relay r.test",
       "adit: \"x\": the port is missing (see adit expose --help)\n"},
      {"expose 1 --relay r.test --name a,mode=passthrough",
       "adit: --name: \"a,mode=passthrough\" is not a host name (see adit expose --help)\n"},
      {"expose 1 --relay r.test --relay-pin x",
       "adit: --relay-pin: \"x\" is not a pin: sha256/ and the base64 of 32 bytes (see adit expose "
       "--help)\n"},
      {"allow me",
       "adit: \"me\" is not an agent's id (26 characters of a-z and 2-7) (see adit allow "
       "--help)\n"},
      {"allow aaaaaaaaaaaaaaaaaaaaaaaaa2 --port 9-8",
       "adit: --port: \"9-8\" ends before it starts (see adit allow --help)\n"},
      {"config", "adit: \"config\" needs a command (see adit config --help)\n"},
      {"config print", "adit: \"config print\" needs a command (see adit config print --help)\n"},
      {"config print relais",
       "adit: unknown command \"relais\"; did you mean \"relay\"? (see adit config print "
       "--help)\n"},
  };
  for (const auto& row : rows) {
    const Answer refused = answer(row.line);
    EXPECT_EQ(refused.exit_code, exit_code::kUsage) << row.line;
    EXPECT_EQ(refused.out, "") << row.line;
    EXPECT_EQ(refused.err, row.err) << row.line;
  }
}

TEST(CommandLine, AloneSaysHowToBegin) {
  const Answer alone = answer("");
  EXPECT_EQ(alone.exit_code, exit_code::kUsage);
  EXPECT_EQ(alone.out, "");
  EXPECT_TRUE(alone.err.starts_with("usage: adit COMMAND")) << alone.err;
}

TEST(CommandLine, HelpNamesEveryKey) {
  const auto helped = [](const char* line, const std::vector<ConfigKeyInfo>& keys) {
    const Answer help = answer(line);
    EXPECT_EQ(help.exit_code, exit_code::kDone);
    EXPECT_EQ(help.err, "");
    for (const ConfigKeyInfo& key : keys)
      EXPECT_NE(help.out.find("  " + key.flag + (key.metavar.empty() ? "" : " " + key.metavar)),
                std::string::npos)
          << line << " " << key.flag;
  };
  helped("relay --help", relay_config_keys());
  helped("agent -h", agent_config_keys());
  helped("config print relay --help", relay_config_keys());
  helped("config print agent --help", agent_config_keys());
  const std::string all = answer("--help").out;
  for (const char* one : {"relay", "agent", "expose", "status", "reload", "allow", "deny", "keys",
                          "config", "version"})
    EXPECT_NE(all.find("\n  " + std::string(one) + " "), std::string::npos) << one;
}

TEST(CommandLine, Version) {
  EXPECT_EQ(answer("--version").out, version_line() + "\n");
  EXPECT_EQ(run(command<VersionCommand>("version")).out, version_line() + "\n");
  EXPECT_TRUE(version_line().starts_with("adit ")) << version_line();
}

TEST(LocalCommands, ConfigCheckAndPrint) {
  const std::string path = testing::TempDir() + "adit_local_commands_test.toml";
  std::ofstream(path) << "domain = \"a.test\"\nthreads = 2\n";
  const Answer good = run(command<ConfigCheckCommand>("config check " + path), kHome);
  EXPECT_EQ(good.exit_code, exit_code::kDone);
  EXPECT_EQ(good.out, path + ": no errors in this relay configuration\n");
  const Answer other =
      run(command<ConfigCheckCommand>("config check --kind agent " + path), kHome);
  EXPECT_EQ(other.exit_code, exit_code::kConfiguration);

  const Answer changed =
      run(command<ConfigPrintCommand>("config print relay -c " + path + " --open"), kHome);
  EXPECT_EQ(changed.out, "domain = [\"a.test\"]\nopen = true\nthreads = 2\n");
  const Answer effective = run(
      command<ConfigPrintCommand>("config print relay --effective -c " + path), kHome);
  EXPECT_NE(effective.out.find("drain_ms = 30000\n"), std::string::npos);
  EXPECT_EQ(run(command<ConfigPrintCommand>("config print agent"), kHome).exit_code,
            exit_code::kUsage);

  std::ofstream(path) << "[[relay]]\n";
  const Answer bad = run(command<ConfigCheckCommand>("config check " + path), kHome);
  EXPECT_EQ(bad.exit_code, exit_code::kConfiguration);
  EXPECT_EQ(bad.out, "");
  EXPECT_TRUE(bad.err.starts_with(path + ":1:1: relay: \"address\" is missing\n")) << bad.err;
  std::filesystem::remove(path);
  EXPECT_EQ(run(command<ConfigCheckCommand>("config check " + path), kHome).err,
            path + ": cannot open: No such file or directory\n");
}

}  // namespace
}  // namespace adit::app
