// argv as values: which command, with everything it needs to run. Reads the configuration file,
// writes nothing, starts nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/config.h"
#include "app/node_config.h"
#include "route/access.h"

namespace adit::app {

// What a program of ours exits with; part of its interface.
namespace exit_code {
inline constexpr int kDone = 0;
inline constexpr int kUsage = 2;
inline constexpr int kConfiguration = 3;
inline constexpr int kRefused = 4;
inline constexpr int kTaken = 5;  // name or port
inline constexpr int kRelayUnreachable = 6;
inline constexpr int kServiceUnreachable = 7;
inline constexpr int kLeaseLost = 8;
inline constexpr int kTryAgain = 75;
}  // namespace exit_code

struct RelayCommand {
  RelayConfig config;
  ConfigSources sources;  // for reading it again on SIGHUP
  std::vector<ConfigError> warnings;
};

struct AgentCommand {
  AgentConfig config;
  ConfigSources sources;
  std::vector<ConfigError> warnings;
};

// The HTTP tunnel node, alone.
struct NodeCommand {
  NodeConfig config;
  ConfigSources sources;
  std::vector<ConfigError> warnings;
};

// One service from the command line, and the URL on standard output.
struct ExposeCommand {
  AgentConfig config;
  bool json = false;
  std::vector<ConfigError> warnings;
};

// Asks a running relay over its admin socket; with `agent`, the path of another one, the agent that
// answers there, too.
struct StatusCommand {
  std::string admin;
  bool json = false;
  std::string agent;
};
struct ReloadCommand {
  std::string admin;
  bool dry_run = false;
};
struct AgentsCommand {
  std::string admin;
  bool json = false;
  std::string kick;  // an agent's id; empty: the list
};
struct ExplainCommand {
  std::string admin;
  std::string what;  // a name, an agent's id or a visitor's
  bool json = false;
  std::string agent{};  // the agent's socket beside it; empty: none is asked
};

// Of the side whose configuration it is given.
struct DoctorCommand {
  ConfigKind kind = ConfigKind::Relay;
  ConfigSources sources;
  bool json = false;
};

struct AllowCommand {
  route::AgentGrant grant;
  std::string file;
};
struct DenyCommand {
  std::string id;
  std::string file;
};

// Prints the agent's id; makes the key when there is none.
struct KeysCommand {
  std::string key;  // PEM file
  bool json = false;
};

struct ConfigCheckCommand {
  std::string file;
  std::optional<ConfigKind> kind;  // unset: guessed from the keys
};
struct ConfigPrintCommand {
  ConfigKind kind = ConfigKind::Relay;
  ConfigSources sources;
  PrintMode mode = PrintMode::Changed;
};

struct VersionCommand {};

using Command = std::variant<RelayCommand, AgentCommand, ExposeCommand, NodeCommand,
                             StatusCommand,
                             ReloadCommand, AgentsCommand, ExplainCommand, DoctorCommand,
                             AllowCommand, DenyCommand, KeysCommand,
                             ConfigCheckCommand, ConfigPrintCommand, VersionCommand>;

// What to print and how to end, where nothing has to run.
struct Answer {
  int exit_code = exit_code::kDone;
  std::string out;  // for standard output; whole lines
  std::string err;  // for standard error; whole lines
};

// `arguments`: without the program's name.
std::variant<Command, Answer> parse_command_line(const std::vector<std::string>& arguments,
                                                 const Environment& environment);

// The commands that are over at once.
Answer run(const ConfigCheckCommand& command, const Environment& environment);
Answer run(const ConfigPrintCommand& command, const Environment& environment);
Answer run(const AllowCommand& command);
Answer run(const DenyCommand& command);
Answer run(const VersionCommand& command);

// All errors, a line each, and the exit code: usage when flags alone are at fault, else
// configuration.
Answer refuse(const std::vector<ConfigError>& errors);
// A line each, to be said before the command runs.
std::string text_of(const std::vector<ConfigError>& warnings);

}  // namespace adit::app
