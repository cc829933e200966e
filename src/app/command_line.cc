#include "app/command_line.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>

#include "app/spelling.h"
#include "app/version.h"
#include "route/name.h"

namespace adit::app {

namespace {

using Outcome = std::variant<Command, Answer>;

constexpr std::string_view kShortHelp =
    "usage: adit COMMAND [OPTIONS]\n"
    "  adit relay --domain t.example.com        the public side\n"
    "  adit expose 3000 --relay t.example.com   the private side; prints the URL\n"
    "  adit agent -c agent.toml                 many services, many relays\n"
    "  adit allow ID                            lets an agent in\n"
    "adit --help lists all commands, adit COMMAND --help the options of one.\n";

constexpr const char* kConfigFooter =
    "A flag goes before the environment, that before the file. In the environment --log-level is\n"
    "ADIT_%KIND%_LOG_LEVEL, and so on; items of a list have blanks between them there. In the\n"
    "TOML file it is level in [log]. adit config print shows what comes of it all.";

std::string config_footer(std::string_view kind) {
  std::string text = kConfigFooter;
  return text.replace(text.find("%KIND%"), 6, kind);
}

Answer usage(std::string what, std::string_view command) {
  std::string where = "adit";
  if (!command.empty()) where += " " + std::string(command);
  return {exit_code::kUsage, {}, "adit: " + std::move(what) + " (see " + where + " --help)\n"};
}

// "adit config print" without the "adit".
std::string path_of(const CLI::App& app) {
  std::string path;
  for (const CLI::App* at = &app; at->get_parent() != nullptr; at = at->get_parent())
    path = path.empty() ? at->get_name() : at->get_name() + " " + path;
  return path;
}

// An option that takes one word each time it is given; repeated, the words add up.
CLI::Option* add_words(CLI::App& app, const std::string& flag, std::vector<std::string>& words,
                       const std::string& help, const std::string& metavar, bool repeats) {
  CLI::Option* option = app.add_option(flag, words, help);
  option->allow_extra_args(false)->type_name(metavar);
  option->option_text(repeats ? metavar + " ..." : metavar);
  if (!repeats) option->expected(1)->allow_extra_args(false);
  return option;
}

// The flags of a configuration's keys, as they were given.
class ConfigFlags {
 public:
  void add(CLI::App& app, const std::vector<ConfigKeyInfo>& keys,
           const std::vector<std::string>& except = {}) {
    for (const ConfigKeyInfo& key : keys) {
      if (std::find(except.begin(), except.end(), key.path) != except.end()) continue;
      const bool limit = key.path.starts_with("limits.");
      const std::string help =
          key.fallback.empty() ? key.help : key.help + " (default: " + key.fallback + ")";
      CLI::Option* option =
          key.is_switch
              ? app.add_flag(key.flag, switches_[key.path], help)
              : add_words(app, key.flag, words_[key.path], help, key.metavar, key.repeats);
      if (limit) option->group("Limits");
    }
  }
  void add_file(CLI::App& app) {
    app.add_option("-c,--config", file_, "TOML file")->option_text("FILE");
  }

  ConfigSources sources(const Environment& environment, std::string_view file_variable) const {
    ConfigSources out{file_, {}};
    if (out.file.empty()) {
      if (const auto* file = environment.find(file_variable)) out.file = *file;
    }
    for (const auto& [path, words] : words_)
      if (!words.empty()) out.flags[path] = words;
    for (const auto& [path, word] : switches_)
      if (!word.empty()) out.flags[path] = {word};
    return out;
  }

 private:
  std::string file_;
  std::map<std::string, std::vector<std::string>> words_;
  std::map<std::string, std::string> switches_;
};

constexpr std::string_view kRelayFile = "ADIT_RELAY_CONFIG";
constexpr std::string_view kAgentFile = "ADIT_AGENT_CONFIG";
constexpr std::string_view kNodeFile = "ADIT_NODE_CONFIG";

// What is missing is no error for a command that only asks where things are.
template <class Config>
std::vector<ConfigError> without_missing(const Loaded<Config>& loaded) {
  std::vector<ConfigError> errors = loaded.errors;
  std::erase_if(errors, [](const ConfigError& e) { return e.missing; });
  return errors;
}

// --- the commands, each with its options and with what becomes of them ---

class Subcommand {
 public:
  Subcommand(CLI::App& parent, const std::string& name, const std::string& help)
      : app_(*parent.add_subcommand(name, help)) {}
  virtual ~Subcommand() = default;
  bool chosen() const { return app_.parsed(); }
  virtual Outcome finish(const Environment& environment) = 0;

 protected:
  CLI::App& app_;
};

class Relay final : public Subcommand {
 public:
  explicit Relay(CLI::App& parent) : Subcommand(parent, "relay", "Run the public side") {
    flags_.add_file(app_);
    flags_.add(app_, relay_config_keys());
    app_.footer(config_footer("RELAY"));
  }
  Outcome finish(const Environment& environment) override {
    ConfigSources sources = flags_.sources(environment, kRelayFile);
    auto loaded = load_relay_config(sources, environment);
    if (!loaded) return refuse(loaded.errors);
    return RelayCommand{std::move(loaded.config), std::move(sources), std::move(loaded.warnings)};
  }

 private:
  ConfigFlags flags_;
};

class Agent final : public Subcommand {
 public:
  explicit Agent(CLI::App& parent)
      : Subcommand(parent, "agent", "Run the private side: services from a file") {
    flags_.add_file(app_);
    flags_.add(app_, agent_config_keys());
    app_.footer(config_footer("AGENT"));
  }
  Outcome finish(const Environment& environment) override {
    ConfigSources sources = flags_.sources(environment, kAgentFile);
    auto loaded = load_agent_config(sources, environment);
    if (!loaded) return refuse(loaded.errors);
    return AgentCommand{std::move(loaded.config), std::move(sources), std::move(loaded.warnings)};
  }

 private:
  ConfigFlags flags_;
};

class TunnelNode final : public Subcommand {
 public:
  explicit TunnelNode(CLI::App& parent)
      : Subcommand(parent, "node", "Run the HTTP tunnel node, alone") {
    flags_.add_file(app_);
    flags_.add(app_, node_config_keys());
    app_.footer("TUNNEL_AUTH_KEY, PORT and MHRV_DIAGNOSTIC of the environment mean what they meant "
                "to tunnel-node.\n\n" + config_footer("NODE"));
  }
  Outcome finish(const Environment& environment) override {
    ConfigSources sources = flags_.sources(environment, kNodeFile);
    auto loaded = load_node_config(sources, environment);
    if (!loaded) return refuse(loaded.errors);
    return NodeCommand{std::move(loaded.config), std::move(sources), std::move(loaded.warnings)};
  }

 private:
  ConfigFlags flags_;
};

class Expose final : public Subcommand {
 public:
  explicit Expose(CLI::App& parent)
      : Subcommand(parent, "expose", "Run the private side: one service, and print its URL") {
    app_.add_option("target", target_, "local service; a port alone is on 127.0.0.1")
        ->required()
        ->option_text("PORT|HOST:PORT REQUIRED");
    // Who is asked for its state is an agent; several may run expose at a time.
    flags_.add(app_, agent_config_keys(), {"service", "admin", "metrics"});
    add_words(app_, "--name", names_, "name to ask for; without it the agent's own, {id}", "NAME",
              true);
    add_words(app_, "--port", port_, "public port of the relay instead of a name",
              "PORT[-PORT]", false);
    app_.add_flag("--udp", udp_, "the port is one of UDP");
    add_words(app_, "--relay-pin", pin_, "key of the relay, for every --relay without pin=", "PIN",
              false);
    app_.add_flag("--passthrough", passthrough_, "the local service ends TLS itself");
    app_.add_flag("--http", http_,
                  "forward each request, with Forwarded and X-Forwarded-For; HTTP/2 for visitors");
    app_.add_flag("--json", json_, "print one JSON object per event");
    app_.footer(config_footer("AGENT"));
  }
  Outcome finish(const Environment& environment) override {
    ConfigSources sources = flags_.sources(environment, {});
    auto target = HostPort::parse(target_);
    if (!target) return usage(target.error().what, "expose");
    std::string service = target->text();
    for (const std::string& name : names_) {
      // What is no name must not become another key of the service.
      const bool fine = name == "{id}" || route::parse_pattern(name);
      if (!fine) return usage("--name: \"" + name + "\" is not a host name", "expose");
      service += ",name=" + name;
    }
    if (passthrough_) service += ",mode=passthrough";
    if (http_ && (passthrough_ || !port_.empty() || udp_))
      return usage("--http goes without --passthrough, --port and --udp", "expose");
    if (http_) service += ",kind=http";
    if (!port_.empty()) {
      auto range = route::parse_port_range(port_.front());
      if (!range) return usage("--port: " + range.error().what, "expose");
      service += (udp_ ? ",kind=udp,port=" : ",kind=tcp,port=") + range->text();
    } else if (udp_) {
      return usage("--udp needs --port", "expose");
    }
    sources.flags["service"] = {service};
    auto loaded = load_agent_config(sources, environment);
    if (!loaded) return refuse(loaded.errors);
    if (!pin_.empty()) {
      auto pin = parse_pin(pin_.front());
      if (!pin) return usage("--relay-pin: " + pin.error().what, "expose");
      for (RelayEndpoint& relay : loaded.config.relays)
        if (relay.pin.empty()) relay.pin = *pin;
    }
    return ExposeCommand{std::move(loaded.config), json_, std::move(loaded.warnings)};
  }

 private:
  ConfigFlags flags_;
  std::string target_;
  std::vector<std::string> names_, pin_, port_;
  bool passthrough_ = false, http_ = false, udp_ = false, json_ = false;
};

// A command about the relay of this machine: finds its files as the relay would.
class AboutRelay : public Subcommand {
 public:
  AboutRelay(CLI::App& parent, const std::string& name, const std::string& help,
             const std::vector<std::string>& keys)
      : Subcommand(parent, name, help) {
    flags_.add_file(app_);
    std::vector<ConfigKeyInfo> taken;
    for (ConfigKeyInfo& key : relay_config_keys())
      if (std::find(keys.begin(), keys.end(), key.path) != keys.end()) taken.push_back(key);
    flags_.add(app_, taken);
  }

 protected:
  std::variant<RelayConfig, Answer> relay(const Environment& environment) const {
    auto loaded = load_relay_config(flags_.sources(environment, kRelayFile), environment);
    const auto errors = without_missing(loaded);
    if (!errors.empty()) return refuse(errors);
    if (loaded.config.state_dir.empty())
      return usage("HOME is not set: give --state-dir", path_of(app_));
    return std::move(loaded.config);
  }

 private:
  ConfigFlags flags_;
};

class RelayStatus final : public AboutRelay {
 public:
  explicit RelayStatus(CLI::App& parent)
      : AboutRelay(parent, "status", "Show what relay and agent of this machine do",
                   {"state_dir", "admin"}) {
    app_.add_flag("--json", json_, "print JSON");
  }
  Outcome finish(const Environment& environment) override {
    auto config = relay(environment);
    if (auto* answer = std::get_if<Answer>(&config)) return std::move(*answer);
    const RelayConfig& c = std::get<RelayConfig>(config);
    const bool usual = c.admin == c.state_dir + "/admin.sock";
    return StatusCommand{c.admin, json_, usual ? c.state_dir + "/agent.sock" : std::string()};
  }

 private:
  bool json_ = false;
};

class Reload final : public AboutRelay {
 public:
  explicit Reload(CLI::App& parent)
      : AboutRelay(parent, "reload",
                   "Make the relay of this machine read its files again, and say what differs",
                   {"state_dir", "admin"}) {
    app_.add_flag("--dry-run", dry_run_, "only say what would change");
  }
  Outcome finish(const Environment& environment) override {
    auto config = relay(environment);
    if (auto* answer = std::get_if<Answer>(&config)) return std::move(*answer);
    return ReloadCommand{std::get<RelayConfig>(config).admin, dry_run_};
  }

 private:
  bool dry_run_ = false;
};

class Agents final : public AboutRelay {
 public:
  explicit Agents(CLI::App& parent)
      : AboutRelay(parent, "agents", "List the agents of this machine's relay, or end a session",
                   {"state_dir", "admin"}) {
    app_.add_option("order", words_, "kick ID: end the agent's session; it may come back")
        ->option_text("[kick ID]")
        ->expected(2);
    app_.add_flag("--json", json_, "print JSON");
  }
  Outcome finish(const Environment& environment) override {
    if (!words_.empty() && words_.front() != "kick")
      return usage("\"" + words_.front() + "\" is no order; there is kick ID", "agents");
    const std::string id = words_.empty() ? std::string() : words_.back();
    if (!words_.empty() && !route::is_key_id(id))
      return usage("\"" + id + "\" is not an agent's id (26 characters of a-z and 2-7)", "agents");
    auto config = relay(environment);
    if (auto* answer = std::get_if<Answer>(&config)) return std::move(*answer);
    return AgentsCommand{std::get<RelayConfig>(config).admin, json_, id};
  }

 private:
  std::vector<std::string> words_;
  bool json_ = false;
};

class Explain final : public AboutRelay {
 public:
  explicit Explain(CLI::App& parent)
      : AboutRelay(parent, "explain", "Say why a visitor went where it went",
                   {"state_dir", "admin"}) {
    app_.add_option("what", what_, "a host name, a visitor's id from the log, or an agent's id")
        ->required()
        ->option_text("NAME|ID REQUIRED");
    app_.add_flag("--json", json_, "print JSON");
  }
  Outcome finish(const Environment& environment) override {
    // It becomes a part of a request line; names and ids have nothing else in them.
    const bool fine = std::all_of(what_.begin(), what_.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
    });
    if (!fine || what_.empty() || what_.size() > 255)
      return usage("\"" + what_ + "\" is neither a host name nor an id", "explain");
    auto config = relay(environment);
    if (auto* answer = std::get_if<Answer>(&config)) return std::move(*answer);
    const RelayConfig& c = std::get<RelayConfig>(config);
    const bool usual = c.admin == c.state_dir + "/admin.sock";
    return ExplainCommand{c.admin, what_, json_,
                          usual ? c.state_dir + "/agent.sock" : std::string()};
  }

 private:
  std::string what_;
  bool json_ = false;
};

class Allow final : public AboutRelay {
 public:
  explicit Allow(CLI::App& parent)
      : AboutRelay(parent, "allow", "Let an agent in: add it to authorized_agents",
                   {"state_dir", "authorized_agents"}) {
    app_.add_option("id", grant_.id, "the agent's id, as adit keys prints it")
        ->required()
        ->option_text("ID REQUIRED");
    add_words(app_, "--name", names_, "name, label or *.NAME it may ask for", "NAME", true);
    add_words(app_, "--port", ports_, "port or range of ports it may ask for", "PORT[-PORT]", true);
    add_words(app_, "--rate", rate_, "bytes a second, as in 10M", "RATE", false);
    app_.add_option("--streams", streams_, "visitors at a time")
        ->option_text("N")
        ->check(CLI::Range(std::size_t{1}, limits::kVisitorsMax));
    app_.add_option("--flows", flows_, "visitors by UDP at a time")
        ->option_text("N")
        ->check(CLI::Range(std::size_t{1}, limits::kVisitorsMax));
    app_.add_option("--file", file_, "the file to edit; --authorized-agents for short")
        ->option_text("FILE");
    app_.footer("What the file grants the agent already stays granted. A running relay reads it\n"
                "again by itself.");
  }
  Outcome finish(const Environment& environment) override {
    route::AgentGrant grant{grant_.id, {}, {}, {}, {}};
    if (!route::is_key_id(grant.id))
      return usage("\"" + grant.id + "\" is not an agent's id (26 characters of a-z and 2-7)",
                   "allow");
    for (const std::string& name : names_) {
      auto pattern = route::parse_pattern(name);
      if (!pattern) return usage("--name: " + pattern.error().what, "allow");
      grant.names.push_back(std::move(*pattern));
    }
    for (const std::string& port : ports_) {
      auto range = route::parse_port_range(port);
      if (!range) return usage("--port: " + range.error().what, "allow");
      grant.ports.push_back(*range);
    }
    if (!rate_.empty()) {
      auto rate = route::parse_rate(rate_.front());
      if (!rate) return usage("--rate: " + rate.error().what, "allow");
      grant.rate = *rate;
    }
    if (streams_ > 0) grant.streams_max = streams_;
    if (flows_ > 0) grant.flows_max = flows_;
    if (!file_.empty()) return AllowCommand{std::move(grant), file_};
    auto config = relay(environment);
    if (auto* answer = std::get_if<Answer>(&config)) return std::move(*answer);
    return AllowCommand{std::move(grant), std::get<RelayConfig>(config).authorized_agents};
  }

 private:
  route::AgentGrant grant_;
  std::vector<std::string> names_, ports_, rate_;
  std::size_t streams_ = 0, flows_ = 0;
  std::string file_;
};

class Deny final : public AboutRelay {
 public:
  explicit Deny(CLI::App& parent)
      : AboutRelay(parent, "deny", "Keep an agent out: take it from authorized_agents",
                   {"state_dir", "authorized_agents"}) {
    app_.add_option("id", id_, "the agent's id")->required()->option_text("ID REQUIRED");
    app_.add_option("--file", file_, "the file to edit; --authorized-agents for short")
        ->option_text("FILE");
  }
  Outcome finish(const Environment& environment) override {
    if (!route::is_key_id(id_))
      return usage("\"" + id_ + "\" is not an agent's id (26 characters of a-z and 2-7)", "deny");
    if (!file_.empty()) return DenyCommand{id_, file_};
    auto config = relay(environment);
    if (auto* answer = std::get_if<Answer>(&config)) return std::move(*answer);
    return DenyCommand{id_, std::get<RelayConfig>(config).authorized_agents};
  }

 private:
  std::string id_, file_;
};

class Keys final : public Subcommand {
 public:
  explicit Keys(CLI::App& parent)
      : Subcommand(parent, "keys", "Print this agent's id; make its key when there is none") {
    flags_.add_file(app_);
    std::vector<ConfigKeyInfo> keys = agent_config_keys();
    std::erase_if(keys, [](const ConfigKeyInfo& key) {
      return key.path != "state_dir" && key.path != "key";
    });
    flags_.add(app_, keys);
    app_.add_flag("--json", json_, "print JSON");
  }
  Outcome finish(const Environment& environment) override {
    auto loaded = load_agent_config(flags_.sources(environment, kAgentFile), environment);
    const auto errors = without_missing(loaded);
    if (!errors.empty()) return refuse(errors);
    if (loaded.config.key.empty()) return usage("HOME is not set: give --key", "keys");
    return KeysCommand{loaded.config.key, json_};
  }

 private:
  ConfigFlags flags_;
  bool json_ = false;
};

class ConfigCheck final : public Subcommand {
 public:
  explicit ConfigCheck(CLI::App& parent)
      : Subcommand(parent, "check", "Say all that is wrong with a configuration file") {
    app_.add_option("file", file_, "TOML file")->required()->option_text("FILE REQUIRED");
    app_.add_option("--kind", kind_, "relay or agent; without it the keys decide")
        ->option_text("KIND")
        ->check(CLI::IsMember({"relay", "agent"}));
    app_.footer("ADIT_RELAY_... and ADIT_AGENT_... of the environment count as they would for the "
                "program.");
  }
  Outcome finish(const Environment&) override {
    ConfigCheckCommand command{file_, std::nullopt};
    if (!kind_.empty()) command.kind = kind_ == "agent" ? ConfigKind::Agent : ConfigKind::Relay;
    return command;
  }

 private:
  std::string file_, kind_;
};

class ConfigPrint final : public Subcommand {
 public:
  ConfigPrint(CLI::App& parent, ConfigKind kind)
      : Subcommand(parent, kind == ConfigKind::Relay ? "relay" : "agent",
                   "Print a configuration as TOML, with the options that the program has"),
        kind_(kind) {
    flags_.add_file(app_);
    app_.add_flag("--effective", effective_,
                  "all keys; without it those that are not at their defaults");
    flags_.add(app_, kind == ConfigKind::Relay ? relay_config_keys() : agent_config_keys());
    app_.footer(config_footer(kind == ConfigKind::Relay ? "RELAY" : "AGENT"));
  }
  Outcome finish(const Environment& environment) override {
    return ConfigPrintCommand{
        kind_, flags_.sources(environment, kind_ == ConfigKind::Relay ? kRelayFile : kAgentFile),
        effective_ ? PrintMode::Effective : PrintMode::Changed};
  }

 private:
  ConfigKind kind_;
  ConfigFlags flags_;
  bool effective_ = false;
};

class DoctorSide final : public Subcommand {
 public:
  DoctorSide(CLI::App& parent, ConfigKind kind)
      : Subcommand(parent, kind == ConfigKind::Relay ? "relay" : "agent",
                   kind == ConfigKind::Relay ? "Look at the public side, from here"
                                             : "Look at the private side, from here"),
        kind_(kind) {
    flags_.add_file(app_);
    flags_.add(app_, kind == ConfigKind::Relay ? relay_config_keys() : agent_config_keys());
    app_.add_flag("--json", json_, "print JSON");
    app_.footer("Each FAIL comes with a cure; exit code 1 where there is one.\n\n" +
                config_footer(kind == ConfigKind::Relay ? "RELAY" : "AGENT"));
  }
  Outcome finish(const Environment& environment) override {
    return DoctorCommand{
        kind_, flags_.sources(environment, kind_ == ConfigKind::Relay ? kRelayFile : kAgentFile),
        json_};
  }

 private:
  ConfigKind kind_;
  ConfigFlags flags_;
  bool json_ = false;
};

class Version final : public Subcommand {
 public:
  explicit Version(CLI::App& parent) : Subcommand(parent, "version", "Print the version") {}
  Outcome finish(const Environment&) override { return VersionCommand{}; }
};

// --- the whole ---

class CommandLine {
 public:
  CommandLine() : app_("One port, many names: a relay in public, agents in private", "adit") {
    app_.get_formatter()->column_width(38);
    app_.set_version_flag("--version", version_line(), "Print the version");
    add<Relay>(app_);
    add<Agent>(app_);
    add<Expose>(app_);
    add<TunnelNode>(app_);
    add<RelayStatus>(app_);
    add<Reload>(app_);
    add<Agents>(app_);
    add<Explain>(app_);
    add<Allow>(app_);
    add<Deny>(app_);
    add<Keys>(app_);
    CLI::App& config = *app_.add_subcommand("config", "Check or print a configuration");
    add<ConfigCheck>(config);
    CLI::App& print = *config.add_subcommand("print", "Print the configuration of relay or agent");
    commands_.push_back(std::make_unique<ConfigPrint>(print, ConfigKind::Relay));
    commands_.push_back(std::make_unique<ConfigPrint>(print, ConfigKind::Agent));
    CLI::App& doctor = *app_.add_subcommand("doctor", "Find out what keeps a tunnel from working");
    commands_.push_back(std::make_unique<DoctorSide>(doctor, ConfigKind::Relay));
    commands_.push_back(std::make_unique<DoctorSide>(doctor, ConfigKind::Agent));
    add<Version>(app_);
  }

  Outcome parse(std::vector<std::string> arguments, const Environment& environment) {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::CallForHelp&) {
      return Answer{exit_code::kDone, app_.help(), {}};
    } catch (const CLI::CallForVersion&) {
      return Answer{exit_code::kDone, version_line() + "\n", {}};
    } catch (const CLI::ExtrasError&) {
      return unexpected();
    } catch (const CLI::ParseError& error) {
      return usage(first_line(error.what()), path_of(deepest()));
    }
    for (const auto& command : commands_)
      if (command->chosen()) return command->finish(environment);
    const std::string path = path_of(deepest());
    if (path.empty()) return Answer{exit_code::kUsage, {}, std::string(kShortHelp)};
    return usage("\"" + path + "\" needs a command", path);
  }

 private:
  template <class Type>
  void add(CLI::App& parent) {
    commands_.push_back(std::make_unique<Type>(parent));
  }

  const CLI::App& deepest() const {
    const CLI::App* at = &app_;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    return *at;
  }

  static std::string first_line(std::string_view text) {
    return std::string(text.substr(0, text.find('\n')));
  }

  // Names the first word that was not understood, and the one that may have been meant.
  Answer unexpected() const {
    const CLI::App& at = deepest();
    const auto left = app_.remaining(true);
    const std::string word = left.empty() ? std::string() : left.front();
    const std::string name = word.substr(0, word.find('='));
    std::vector<std::string> known;
    if (word.starts_with('-')) {
      for (const CLI::Option* option : at.get_options())
        for (const std::string& one : option->get_lnames()) known.push_back("--" + one);
    } else {
      for (const CLI::App* one : at.get_subcommands({})) known.push_back(one->get_name());
    }
    std::string what = word.starts_with('-') ? "unknown option \"" + name + "\""
                       : known.empty()       ? "unexpected argument \"" + word + "\""
                                             : "unknown command \"" + word + "\"";
    const std::string hint = did_you_mean(name, known);
    if (!hint.empty()) what += "; " + hint;
    return usage(std::move(what), path_of(at));
  }

  CLI::App app_;
  std::vector<std::unique_ptr<Subcommand>> commands_;
};

}  // namespace

std::variant<Command, Answer> parse_command_line(const std::vector<std::string>& arguments,
                                                 const Environment& environment) {
  return CommandLine().parse(arguments, environment);
}

std::string text_of(const std::vector<ConfigError>& warnings) {
  std::string out;
  for (const ConfigError& warning : warnings)
    out += (warning.source.empty() ? "adit: " : "") + warning.text() + "\n";
  return out;
}

Answer refuse(const std::vector<ConfigError>& errors) {
  const bool flags_only = std::all_of(errors.begin(), errors.end(), [](const ConfigError& e) {
    return e.source.empty() || e.source.starts_with("--");
  });
  return {flags_only ? exit_code::kUsage : exit_code::kConfiguration, {}, text_of(errors)};
}

}  // namespace adit::app
