// The commands that need neither a relay nor a loop.

#include <fstream>
#include <iterator>

#include "app/allow.h"
#include "app/command_line.h"
#include "app/version.h"

namespace adit::app {

namespace {

// Empty when the file cannot be read: the loader says why.
std::string text_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kConfigFileBytesMax, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

template <class Config>
Answer checked(const Loaded<Config>& loaded, const std::string& file, std::string_view kind) {
  Answer answer;
  if (!loaded) answer = refuse(loaded.errors);
  // Whatever is wrong, it is with a configuration and not with the command line.
  if (!loaded) answer.exit_code = exit_code::kConfiguration;
  answer.err += text_of(loaded.warnings);
  if (loaded) answer.out = file + ": no errors in this " + std::string(kind) + " configuration\n";
  return answer;
}

template <class Config>
Answer printed(const Loaded<Config>& loaded, PrintMode mode, const Environment& environment) {
  if (!loaded) return refuse(loaded.errors);
  return {exit_code::kDone, print(loaded.config, mode, environment), text_of(loaded.warnings)};
}

}  // namespace

Answer run(const ConfigCheckCommand& command, const Environment& environment) {
  const ConfigSources sources{command.file, {}};
  const ConfigKind kind =
      command.kind ? *command.kind : guess_config_kind(text_of_file(command.file));
  if (kind == ConfigKind::Agent)
    return checked(load_agent_config(sources, environment), command.file, "agent");
  return checked(load_relay_config(sources, environment), command.file, "relay");
}

Answer run(const ConfigPrintCommand& command, const Environment& environment) {
  if (command.kind == ConfigKind::Agent)
    return printed(load_agent_config(command.sources, environment), command.mode, environment);
  return printed(load_relay_config(command.sources, environment), command.mode, environment);
}

Answer run(const AllowCommand& command) {
  auto edit = allow_agent(command.file, command.grant);
  if (!edit) return {exit_code::kConfiguration, {}, "adit: " + edit.error().what + "\n"};
  const std::string what = *edit == Edit::Changed ? " is allowed now" : " was allowed already";
  return {exit_code::kDone, {}, command.grant.id + what + " (" + command.file + ")\n"};
}

Answer run(const DenyCommand& command) {
  auto edit = deny_agent(command.file, command.id);
  if (!edit) return {exit_code::kConfiguration, {}, "adit: " + edit.error().what + "\n"};
  const std::string what = *edit == Edit::Changed ? " is no longer allowed" : " was not allowed";
  return {exit_code::kDone, {}, command.id + what + " (" + command.file + ")\n"};
}

Answer run(const VersionCommand&) { return {exit_code::kDone, version_line() + "\n", {}}; }

}  // namespace adit::app
