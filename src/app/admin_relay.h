// A relay behind its admin socket: collects what its threads have, and reloads. On thread 0.
#pragma once

#include <string>

#include "app/admin_pages.h"
#include "base/list.h"
#include "base/result.h"
#include "io/loop.h"
#include "service/admin/admin_server.h"
#include "service/admin/admin_source.h"
#include "service/relay/status_collector.h"

namespace adit::app {

class RelayAcme;

class RelayAdmin final : public service::AdminSource {
 public:
  // `reload` and `threads` outlive this object, and this object outlives the loop's last turn.
  RelayAdmin(io::Loop& loop, Log& log, const service::RelayThreads& threads, RelayFacts facts,
             Delegate<Reloaded(bool dry_run)> reload);

  // The operator's socket at `config.admin`, the metrics at `config.metrics` if set. EADDRINUSE:
  // another relay is there.
  Status listen(const RelayConfig& config);

  // After a reload, and when the drain begins.
  void set_config(const RelayConfig& config);
  void set_sandbox(const SandboxFacts& sandbox) { facts_.sandbox = sandbox; }
  // Shown from now on; outlives the loop's last turn.
  void set_acme(const RelayAcme& acme) { acme_ = &acme; }
  void set_draining() { facts_.draining = true; }

 private:
  void ask(service::AdminQuestion& question) override;
  Reloaded reload(bool dry_run) override { return reload_(dry_run); }

  void collect();
  static service::ThreadQuery query_of(const service::AdminQuestion& question);
  void on_report(const service::RelayReport& report);
  RelayFacts facts_now() const;

  using Questions = List<service::AdminQuestion, service::AdminQuestion>;

  io::Loop& loop_;
  RelayFacts facts_;  // `uptime` unset
  const RelayAcme* acme_ = nullptr;
  const Instant start_;
  const Delegate<Reloaded(bool dry_run)> reload_;
  service::StatusCollector collector_;
  // Those whom the collection under way answers, and those who came after it began: what they did
  // before they asked must show.
  Questions asked_, waiting_;
  service::AdminServer server_;
};

}  // namespace adit::app
