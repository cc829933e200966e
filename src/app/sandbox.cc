#include "app/sandbox.h"

#include <fmt/format.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>

#include "app/sandbox_calls.h"
#include "app/users.h"
#include "io/seccomp_filter.h"

namespace adit::app {

namespace {

namespace fs = std::filesystem;
using io::FileAccess;

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// The folder of `file`, and where a symbolic link leads, that one's: certbot and Kubernetes renew
// by turning links. The root folder would open all, so there it is the file alone.
void add_read(SandboxPlan& plan, const std::string& file) {
  if (file.empty()) return;
  std::error_code error;
  const fs::path real = fs::canonical(file, error);
  for (const std::string& one : {file, error ? file : real.string()}) {
    const std::string folder = folder_of(fs::absolute(one, error).string());
    plan.files.push_back({folder == "/" ? one : folder, FileAccess::Read});
  }
}

void add_system(SandboxPlan& plan) {
  for (const char* path : {"/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf"})
    plan.files.push_back({path, FileAccess::Read});
  // Whoever changes the network replaces resolv.conf, often by renaming. An agent that could not
  // read the new one would never find its relay again.
  add_read(plan, "/etc/resolv.conf");
  for (const char* path : {"/run/systemd", "/run/resolvconf", "/run/NetworkManager",
                           "/run/connman"})
    plan.files.push_back({path, FileAccess::Read});
  for (const char* path : {"/dev/urandom", "/dev/random", "/dev/null"})
    plan.files.push_back({path, FileAccess::Read});
  for (const char* path : {"/proc/self", "/sys/devices/system/cpu"})
    plan.files.push_back({path, FileAccess::List});
}

template <class Config>
SandboxPlan plan_of_common(const Config& config, const ConfigSources& sources) {
  SandboxPlan plan;
  plan.on = config.sandbox;
  plan.user = config.user;
  plan.state_dir = config.state_dir;
  plan.files.push_back({config.state_dir, FileAccess::Write});
  // The socket's file goes with the process.
  plan.files.push_back({folder_of(config.admin), FileAccess::Remove});
  add_read(plan, sources.file);
  add_system(plan);
  return plan;
}

struct FreeCaps {
  void operator()(cap_t caps) const { ::cap_free(caps); }
};
using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCaps>;

// The bounding set while we may: it says what a program with file capabilities could ever get.
void drop_bounds(const std::vector<int>& kept) {
  const cap_value_t last = ::cap_max_bits();
  for (cap_value_t c = 0; c < last; ++c)
    if (std::find(kept.begin(), kept.end(), c) == kept.end())
      static_cast<void>(::cap_drop_bound(c));
}

Status drop_capabilities(const std::vector<int>& kept) {
  drop_bounds(kept);
  static_cast<void>(::cap_reset_ambient());  // not in every kernel
  const Caps had(::cap_get_proc());
  const Caps none(::cap_init());
  if (!had || !none) return errno_error(errno, "capabilities");
  for (const cap_value_t c : kept) {
    cap_flag_value_t there = CAP_CLEAR;
    if (::cap_get_flag(had.get(), c, CAP_PERMITTED, &there) != 0 || there == CAP_CLEAR) continue;
    for (const cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE})
      static_cast<void>(::cap_set_flag(none.get(), flag, 1, &c, CAP_SET));
  }
  if (::cap_set_proc(none.get()) != 0) return errno_error(errno, "capset");
  return {};
}

std::string capabilities_left() {
  const Caps now(::cap_get_proc());
  if (!now) return "unknown";
  std::string out;
  for (cap_value_t c = 0; c < ::cap_max_bits(); ++c) {
    cap_flag_value_t there = CAP_CLEAR;
    if (::cap_get_flag(now.get(), c, CAP_PERMITTED, &there) != 0 || there == CAP_CLEAR) continue;
    char* name = ::cap_to_name(c);
    out += (out.empty() ? "" : ",") + (name == nullptr ? std::to_string(c) : std::string(name));
    ::cap_free(name);
  }
  return out.empty() ? "none" : out;
}

SandboxFacts facts_of_process(std::string user) {
  SandboxFacts facts;
  facts.user = std::move(user);
  facts.capabilities = capabilities_left();
  facts.no_new_privileges = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  facts.calls = facts.files = "off";
  return facts;
}

// The system's CAs, wherever the distribution has them.
void add_system_roots(SandboxPlan& plan) {
  for (const char* path : {"/etc/ssl", "/etc/pki", "/usr/share/ca-certificates",
                           "/usr/local/share/ca-certificates", "/var/lib/ca-certificates"})
    plan.files.push_back({path, FileAccess::Read});
}

// Who may vouch for an ACME server is read at each order; accounts are written beside their file.
void add_acme(SandboxPlan& plan, const AcmeConfig& acme) {
  if (acme == AcmeConfig{}) return;
  add_system_roots(plan);
  add_read(plan, acme.ca);
  std::error_code error;
  if (!acme.creds_path.empty())
    plan.files.push_back({folder_of(fs::absolute(acme.creds_path, error).string()),
                          FileAccess::Write});
  if (!acme.dns_hook.empty()) plan.programs.push_back(acme.dns_hook);
}

}  // namespace

SandboxPlan make_sandbox_plan(const RelayConfig& config, const ConfigSources& sources) {
  SandboxPlan plan = plan_of_common(config, sources);
  add_read(plan, config.authorized_agents);
  add_read(plan, config.certificate);
  add_read(plan, config.key);
  add_acme(plan, config.acme);
  return plan;
}

SandboxPlan make_sandbox_plan(const AgentConfig& config, const ConfigSources& sources) {
  SandboxPlan plan = plan_of_common(config, sources);
  add_read(plan, config.key);
  add_read(plan, config.roots);
  bool transparent = false;
  for (const ServiceConfig& service : config.services) {
    add_read(plan, service.certificate);
    add_read(plan, service.key);
    transparent = transparent || service.transparent;
  }
  // For each visitor's socket (IP_TRANSPARENT) and route, and to take the rules away at the end.
  if (transparent) plan.kept_capabilities.push_back(CAP_NET_ADMIN);
  add_system_roots(plan);
  add_acme(plan, config.acme);
  return plan;
}

SandboxPlan make_sandbox_plan(const NodeConfig& config) {
  SandboxPlan plan;
  plan.on = config.sandbox;
  plan.user = config.user;
  if (!config.admin.empty())
    plan.files.push_back({folder_of(config.admin), FileAccess::Remove});
  add_system(plan);
  return plan;
}

std::string sandbox_text(const SandboxFacts& facts) {
  return fmt::format("user {}, capabilities {}{}, system calls {}, files {}", facts.user,
                     facts.capabilities, facts.no_new_privileges ? ", no_new_privs" : "",
                     facts.calls, facts.files);
}

Status change_user(const SandboxPlan& plan) {
  if (plan.user.empty()) return {};
  auto user = find_user(plan.user);
  if (!user) return std::move(user).error().with("user");
  if (::geteuid() == user->id && ::getuid() == user->id) return {};
  if (::geteuid() != 0)
    return Error{EPERM, "user " + plan.user + ": only root can become somebody else"};
  if (!plan.state_dir.empty())
    if (auto ok = give_folder(plan.state_dir, *user); !ok) return ok;
  // Whoever stops being root loses all capabilities, but for those that are asked to stay.
  const bool keeps = !plan.kept_capabilities.empty();
  if (keeps) drop_bounds(plan.kept_capabilities);
  if (keeps && ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return errno_error(errno, "keepcaps");
  if (auto ok = become(*user); !ok || !keeps) return ok;
  return drop_capabilities(plan.kept_capabilities);
}

SandboxFacts enter_sandbox(const SandboxPlan& plan) {
  std::string user = user_name(::geteuid());  // while /etc/passwd is in reach
  if (!plan.on) return facts_of_process(std::move(user));
  const Status capabilities = drop_capabilities(plan.kept_capabilities);
  const bool locked = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  const int version = io::landlock_version();
  const bool hooks = !plan.programs.empty();
  // Nobody here knows what an operator's program reads and writes, and what interprets it.
  const Status files = !locked ? Status(Error{0, "needs no_new_privs"})
                       : hooks ? Status(Error{0, "hook programs have files of their own"})
                               : io::restrict_files(plan.files);
  // Read before the filter closes prctl and capget.
  SandboxFacts facts = facts_of_process(std::move(user));
  facts.on = true;
  if (!capabilities) facts.capabilities += " (" + capabilities.error().what + ")";
  facts.files = files ? fmt::format("Landlock {}", version) : "open: " + files.error().what;
  const std::vector<io::CallRule> calls = hooks ? calls_refused_to_programs() : allowed_calls();
  const Status filtered = io::install_call_filter(
      calls, hooks ? io::CallVerdict::Allow : io::CallVerdict::Refuse);
  facts.calls = !filtered ? "open: " + filtered.error().what
                : hooks   ? "filtered, but for hook programs"
                          : "filtered";
  return facts;
}

}  // namespace adit::app
