// The program: argv to a command, a command to an exit code.

#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "app/agent_main.h"
#include "app/command_line.h"
#include "app/doctor.h"
#include "app/node_main.h"
#include "app/relay_main.h"
#include "app/status_command.h"

namespace {

using namespace adit::app;

int say(const Answer& answer) {
  std::fputs(answer.out.c_str(), stdout);
  std::fputs(answer.err.c_str(), stderr);
  return answer.exit_code;
}

struct Runner {
  const Environment& environment;

  int operator()(const RelayCommand& c) const {
    std::fputs(text_of(c.warnings).c_str(), stderr);
    return run_relay(c, environment);
  }
  int operator()(const AgentCommand& c) const {
    std::fputs(text_of(c.warnings).c_str(), stderr);
    return run_agent(c, environment);
  }
  int operator()(const NodeCommand& c) const {
    std::fputs(text_of(c.warnings).c_str(), stderr);
    return run_node(c, environment);
  }
  int operator()(const ExposeCommand& c) const {
    std::fputs(text_of(c.warnings).c_str(), stderr);
    return run_expose(c, environment);
  }
  int operator()(const KeysCommand& c) const { return say(run(c)); }
  int operator()(const ConfigCheckCommand& c) const { return say(run(c, environment)); }
  int operator()(const ConfigPrintCommand& c) const { return say(run(c, environment)); }
  int operator()(const AllowCommand& c) const { return say(run(c)); }
  int operator()(const DenyCommand& c) const { return say(run(c)); }
  int operator()(const DoctorCommand& c) const { return say(run(c, environment)); }
  int operator()(const VersionCommand& c) const { return say(run(c)); }
  int operator()(const StatusCommand& c) const { return say(run(c)); }
  int operator()(const ReloadCommand& c) const { return say(run(c)); }
  int operator()(const AgentsCommand& c) const { return say(run(c)); }
  int operator()(const ExplainCommand& c) const { return say(run(c)); }
  template <class Other>
  int operator()(const Other&) const {
    return exit_code::kUsage;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const Environment environment = Environment::of_process();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  auto parsed = parse_command_line(arguments, environment);
  if (const auto* answer = std::get_if<Answer>(&parsed)) return say(*answer);
  return std::visit(Runner{environment}, std::get<Command>(parsed));
}
