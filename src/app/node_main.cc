#include "app/node_main.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>

#include "app/admin_pages.h"
#include "app/log_sink.h"
#include "app/node_settings.h"
#include "app/relay_main.h"
#include "app/sandbox.h"
#include "app/version.h"
#include "crypto/init.h"
#include "io/cares_resolver.h"
#include "io/port_check.h"
#include "io/signals.h"
#include "service/admin/admin_server.h"
#include "service/node/node_server.h"

namespace adit::app {

namespace {

// Everything of the process but its loop.
class NodeProcess final : private service::AdminSource {
 public:
  NodeProcess(io::Loop& loop, io::Resolver& resolver, Log& log, service::NodeSettings settings,
              std::string reason)
      : loop_(loop),
        log_(log),
        reason_(std::move(reason)),
        started_(loop.wall_time()),
        start_(loop.now()),
        bulk_(loop),
        node_(loop, resolver, log, metrics_, std::move(settings)),
        site_(node_, bulk_),
        server_(loop, log, metrics_, site_),
        admin_(loop, log, *this) {}

  Status start(const NodeConfig& config) {
    static constexpr int kSignals[] = {SIGTERM, SIGINT};
    auto signals = io::Signals::open(loop_, kSignals,
                                     io::Signals::Handler::to<&NodeProcess::on_signal>(this));
    if (!signals) return std::move(signals).error();
    signals_ = std::move(*signals);
    Address at = *config.listen;
    if (!io::has_ipv6() && at.ip == IpAddress::any6()) at.ip = IpAddress::any4();
    if (auto ok = server_.listen(at); !ok) return ok;
    if (!config.admin.empty())
      if (auto ok = admin_.listen_operator(config.admin); !ok)
        return std::move(ok).error().with("admin");
    if (config.metrics)
      if (auto ok = admin_.listen_metrics(*config.metrics); !ok)
        return std::move(ok).error().with("metrics");
    return {};
  }
  Address address() const { return server_.address(); }
  void set_sandbox(const SandboxFacts& facts) { sandbox_ = facts; }

 private:
  void on_signal(int) {
    if (std::exchange(stopping_, true)) return loop_.stop();  // a second one: at once
    log_.info("node.draining", {{"deadline_s", limits::kNodeDrainDeadline / 1s},
                                {"requests", node_.jobs()},
                                {"sessions", node_.sessions()}});
    node_.drain();
    server_.drain(limits::kNodeDrainDeadline, Delegate<void()>::to<&NodeProcess::on_drained>(this));
  }
  void on_drained() { loop_.stop(); }

  // --- for the operator ---
  void ask(service::AdminQuestion& question) override {
    const BuildFacts build{std::string(version()), std::string(commit()), started_,
                           loop_.now() - start_};
    switch (question.page()) {
      case service::AdminPage::StatusJson: return question.answer(status_json_text(build));
      case service::AdminPage::StatusText: return question.answer(status_line(build));
      case service::AdminPage::Metrics:
        tell_gauges();
        return question.answer(prometheus_text(metrics_.sample()) +
                               process_metrics(build, read_process_facts()));
      default: return question.answer({});  // has() kept it out
    }
  }
  bool has(service::AdminPage page) const override { return page <= service::AdminPage::Metrics; }
  Reloaded reload(bool) override {
    return {false, "a node reads its files when it starts: restart it\n"};
  }
  void tell_gauges() {
    const auto set = [this](std::string_view name, std::size_t n) {
      metrics_.gauge(name).set(static_cast<std::int64_t>(n));
    };
    set("adit_node_buffer_bytes", node_.context().budget.used());
    set("adit_node_replay_bytes", node_.context().budget.kept());
    set("adit_node_requests_open", site_.exchanges());
    for (const auto& key : node_.keys().all())
      metrics_.gauge("adit_node_key_sessions", "key=\"" + key->name() + "\"")
          .set(static_cast<std::int64_t>(key->sessions));
  }
  std::string status_json_text(const BuildFacts& build) {
    service::JsonWriter json;
    json.begin_object();
    json.string("version", build.version);
    json.string("commit", build.commit);
    json.string("started", utc_text(build.started));
    json.number("uptime_s", build.uptime / 1s);
    json.begin_object("io");
    json.string("backend", io::name(loop_.backend()));
    json.string("reason", reason_);
    json.end();
    json.boolean("stopping", stopping_);
    write_sandbox(json, sandbox_);
    json.number("connections", server_.connections());
    json.number("requests", site_.exchanges());
    json.number("sessions", node_.sessions());
    json.number("buffer_bytes", node_.context().budget.used());
    json.number("replay_bytes", node_.context().budget.kept());
    json.begin_array("keys");
    for (const auto& key : node_.keys().all()) {
      json.begin_object();
      json.string("name", key->name());
      json.number("sessions", key->sessions);
      json.end();
    }
    json.end();
    json.end();
    return std::move(json).text();
  }
  std::string status_line(const BuildFacts& build) {
    return "adit " + build.version + " node, up " + duration_text(build.uptime) + ", " +
           std::to_string(node_.sessions()) + " sessions, " +
           std::to_string(site_.exchanges()) + " requests" + (stopping_ ? ", STOPPING" : "") +
           "\nsandbox   " + sandbox_text(sandbox_) + "\n";
  }

  io::Loop& loop_;
  Log& log_;
  const std::string reason_;
  const WallTime started_;
  const Instant start_;
  bool stopping_ = false;
  SandboxFacts sandbox_;
  Metrics metrics_;
  flow::BulkQueue bulk_;
  service::Node node_;
  service::NodeSite site_;
  service::NodeServer server_;
  service::AdminServer admin_;
  std::unique_ptr<io::Signals> signals_;
};

Status give_up(const NodeConfig& config, Log& log, NodeProcess& process) {
  const SandboxPlan plan = make_sandbox_plan(config);
  if (auto ok = change_user(plan); !ok) return ok;
  const SandboxFacts facts = enter_sandbox(plan);
  log.info("node.sandbox", {{"state", sandbox_text(facts)}});
  process.set_sandbox(facts);
  return {};
}

}  // namespace

int run_node(const NodeCommand& command, const Environment& environment) {
  const NodeConfig& config = command.config;
  crypto::init();
  LogSink log(STDERR_FILENO, config.log, wants_colour(STDERR_FILENO, environment), wall_clock);
  std::vector<std::string> warnings;
  auto settings = make_node_settings(config.node, environment, {config.listen->port}, warnings);
  if (!settings) {
    log.error("node.start_failed", {{"what", settings.error().what}});
    return exit_code::kConfiguration;
  }
  for (const std::string& w : warnings) log.warn("node.key", {{"what", w}});
  auto choice = choose_loop(config.io_backend);
  if (!choice) {
    std::fprintf(stderr, "adit: %s\n", choice.error().what.c_str());
    return exit_code::kConfiguration;
  }
  io::Loop& loop = *choice->loop;
  auto resolver = io::make_cares_resolver(loop, {});
  if (!resolver) {
    log.error("node.start_failed", {{"what", resolver.error().what}});
    return exit_code::kConfiguration;
  }
  NodeProcess process(loop, **resolver, log, std::move(*settings), choice->reason);
  if (auto ok = process.start(config); !ok) {
    log.error("node.start_failed", {{"what", ok.error().what}});
    return ok.error().code == EADDRINUSE ? exit_code::kTaken : exit_code::kConfiguration;
  }
  if (auto ok = give_up(config, log, process); !ok) {
    log.error("node.start_failed", {{"what", ok.error().what}});
    return exit_code::kConfiguration;
  }
  log.info("node.ready", {{"version", version()}, {"backend", choice->reason},
                          {"address", process.address().text()}});
  loop.run();
  log.info("node.stopped");
  return exit_code::kDone;
}

}  // namespace adit::app
