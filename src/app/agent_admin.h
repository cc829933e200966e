// An agent behind its admin socket.
#pragma once

#include <string>

#include "app/agent_pages.h"
#include "app/config.h"
#include "base/result.h"
#include "io/loop.h"
#include "service/admin/admin_server.h"
#include "service/admin/admin_source.h"
#include "service/agent/agent.h"

namespace adit::app {

class AgentAdmin final : public service::AdminSource {
 public:
  // `agent` outlives this object, and this object outlives the loop's last turn.
  AgentAdmin(io::Loop& loop, Log& log, service::Agent& agent, std::string id, std::string reason);

  // The operator's socket at `config.admin`, the metrics at `config.metrics` if set. EADDRINUSE:
  // another agent is there.
  Status listen(const AgentConfig& config);
  void set_sandbox(const SandboxFacts& sandbox) { sandbox_ = sandbox; }
  void set_stopping() { stopping_ = true; }

 private:
  void ask(service::AdminQuestion& question) override;
  Reloaded reload(bool dry_run) override;
  bool has(service::AdminPage page) const override;
  AgentReport report() const;

  io::Loop& loop_;
  service::Agent& agent_;
  const std::string id_, reason_;
  const WallTime started_;
  const Instant start_;
  bool stopping_ = false;
  SandboxFacts sandbox_;
  service::AdminServer server_;
};

}  // namespace adit::app
