// What a relay or an agent gives up once its ports are bound: the user it was started as (where
// another is named), all capabilities, new privileges for ever (no_new_privs), the system calls
// that it does not use (seccomp) and the files that are not its own (Landlock). All but the user
// belong to a thread, so each thread enters for itself. What a kernel does not have is said and
// goes without.
#pragma once

#include <string>
#include <vector>

#include "app/config.h"
#include "app/node_config.h"
#include "base/result.h"
#include "io/landlock.h"

namespace adit::app {

struct SandboxPlan {
  bool on = true;
  std::string user;        // empty: stay who we are
  std::string state_dir;   // handed to `user`
  std::vector<io::FileRule> files;
  // Programs that are run as hooks: with one, execve and what programs need are allowed, and files
  // are not restricted.
  std::vector<std::string> programs;
  std::vector<int> kept_capabilities;  // by number (capabilities(7))
};

// Everything that the configuration names, so that SIGHUP finds it again: files may be replaced by
// renaming, so the folder of each may be read.
SandboxPlan make_sandbox_plan(const RelayConfig& config, const ConfigSources& sources);
SandboxPlan make_sandbox_plan(const AgentConfig& config, const ConfigSources& sources);
// The node reads its keys when it starts, and nothing later.
SandboxPlan make_sandbox_plan(const NodeConfig& config);

// What became of each, for `status` and the log.
struct SandboxFacts {
  bool on = false;
  std::string user;           // the effective one, by name or number
  std::string capabilities;   // "none", or those that are left
  bool no_new_privileges = false;
  std::string calls, files;   // "filtered", "Landlock 7"; or why not
  bool operator==(const SandboxFacts&) const = default;
};
// "user adit, capabilities none, no_new_privs, system calls filtered, files: Landlock 7"
std::string sandbox_text(const SandboxFacts& facts);

// The whole process becomes the plan's user, and the state folder with what root has in it becomes
// the user's. Before any thread has entered. An error: the user is unknown, or we may not.
Status change_user(const SandboxPlan& plan);

// The calling thread, and those it starts. For good.
SandboxFacts enter_sandbox(const SandboxPlan& plan);

}  // namespace adit::app
