#include "app/relay_main.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <csignal>
#include <optional>
#include <thread>

#include "app/admin_relay.h"
#include "app/config_difference.h"
#include "app/heap_keeper.h"
#include "app/log_sink.h"
#include "app/node_settings.h"
#include "app/relay_acme.h"
#include "app/relay_settings.h"
#include "app/sandbox.h"
#include "app/version.h"
#include "crypto/init.h"
#include "io/cares_resolver.h"
#include "io/port_check.h"
#include "io/signals.h"

namespace adit::app {

namespace {

// What the threads share while they start and stop; each writes its own row, the barriers order it.
struct Startup {
  explicit Startup(unsigned n) : rows(n), step(n), draining(n) {
    threads.entries.resize(n);
    for (Row& row : rows) row.startup = this;
  }

  struct Row {
    // The last thread to be drained stops all: until then every one of them answers (status,
    // messages).
    void on_drained() {
      if (startup->draining.fetch_sub(1) == 1) startup->stop_all();
    }
    Startup* startup = nullptr;
    std::string backend;
    SandboxFacts sandbox;
    std::optional<Error> error;
  };
  void stop_all() {
    for (std::uint32_t i = 0; i < threads.entries.size(); ++i) {
      service::RelayThread::post(
          threads, i, [loop = threads.entries[i].loop](service::RelayThread&) { loop->stop(); });
    }
  }
  io::BoundPorts privileged;
  service::RelayThreads threads;
  std::vector<Row> rows;
  std::barrier<> step;
  std::atomic<unsigned> draining;  // threads that are not drained

  const Error* first_error() const {
    for (const Row& row : rows)
      if (row.error) return &*row.error;
    return nullptr;
  }
};

// The operator's side, on thread 0: signals, reload, drain.
class Control {
 public:
  Control(const RelayCommand& command, const Environment& environment, Log& log, Startup& startup,
          io::Loop& loop, const std::vector<route::AgentGrant>& agents)
      : command_(command), environment_(environment), log_(log), startup_(startup), loop_(loop),
        watch_(loop, Delegate<void()>::to<&Control::on_watch>(this)),
        agents_seen_(stamp(command.config.authorized_agents)),
        running_(command.config),
        agents_(agents) {}

  Status start() {
    static constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP};
    auto opened =
        io::Signals::open(loop_, kSignals, io::Signals::Handler::to<&Control::on_signal>(this));
    if (!opened) return std::move(opened).error();
    signals_ = std::move(*opened);
    watch_.set(loop_.now() + 1s);
    return {};
  }
  // Told of what status shows; outlives the loop's last turn.
  void set_admin(RelayAdmin& admin) { admin_ = &admin; }
  service::AdminSource::Reloaded on_reload_asked(bool dry_run) {
    return reload("adit reload", dry_run);
  }

 private:
  void on_signal(int signal) {
    if (signal == SIGHUP) return static_cast<void>(reload("SIGHUP", false));
    // A second signal: the operator does not want to wait
    if (draining_) return startup_.stop_all();
    draining_ = true;
    if (admin_ != nullptr) admin_->set_draining();
    log_.info("relay.draining", {{"deadline_s", command_.config.limits.drain / 1s}});
    for (std::uint32_t i = 0; i < startup_.threads.entries.size(); ++i) {
      service::RelayThread::post(startup_.threads, i,
                                 [deadline = command_.config.limits.drain,
                                  row = &startup_.rows[i]](service::RelayThread& t) {
        t.drain(deadline, Delegate<void()>::to<&Startup::Row::on_drained>(row));
      });
    }
  }
  service::AdminSource::Reloaded reload(std::string_view why, bool dry_run) {
    auto loaded = load_relay_config(command_.sources, environment_);
    if (dry_run) return foretell(loaded);
    for (const ConfigError& e : loaded.errors)
      log_.error("relay.config_error", {{"what", e.text()}});
    if (!loaded) {
      log_.error("relay.reload_refused", {{"kept", "the running configuration"}});
      return {false, refuse(loaded.errors).err + "not reloaded: what ran before goes on\n"};
    }
    SettingsAndFaults made = make_settings(loaded.config);
    for (const std::string& f : made.faults) log_.error("relay.agents_file", {{"what", f}});
    if (made.agents_unreadable) {
      // Nobody has taken anybody's grant back.
      made.settings.agents = agents_;
      log_.error("relay.agents_file", {{"kept", "the agents of before"}});
    }
    const ConfigDifference changes = changes_to(loaded.config, made.settings);
    for (const ConfigDifference::Line& line : changes.lines)
      if (line.restart)
        log_.warn("relay.reload_partial", {{"what", line.what + " takes a restart"}});
    running_ = keep_what_runs(running_, loaded.config);
    agents_ = made.settings.agents;
    for (std::uint32_t i = 0; i < startup_.threads.entries.size(); ++i) {
      service::RelayThread::post(
          startup_.threads, i,
          [settings = made.settings](service::RelayThread& t) { t.reload(settings); });
    }
    log_.info("relay.reloaded", {{"why", why}, {"agents", made.settings.agents.size()},
                                 {"routes", made.settings.rules.size()}});
    if (admin_ != nullptr) admin_->set_config(loaded.config);
    std::string said = reload_certificate(loaded.config) + changes.text();
    certificate_seen_ = stamp(loaded.config.certificate);
    for (const std::string& f : made.faults) said += f + "\n";
    return {true, said + "reloaded: " + std::to_string(made.settings.agents.size()) + " agents, " +
                      std::to_string(made.settings.rules.size()) + " routes\n"};
  }
  // What a reload would do, without doing it.
  service::AdminSource::Reloaded foretell(const Loaded<RelayConfig>& loaded) const {
    if (!loaded) return {false, refuse(loaded.errors).err + "a reload would keep what runs\n"};
    const SettingsAndFaults made = make_settings(loaded.config);
    std::string said = changes_to(loaded.config, made.settings).text();
    for (const std::string& f : made.faults) said += f + "\n";
    return {true, said + "nothing was changed (--dry-run)\n"};
  }
  ConfigDifference changes_to(const RelayConfig& config,
                              const service::RelaySettings& settings) const {
    ConfigDifference out = difference(running_, config);
    add_difference(out, agents_, settings.agents);
    if (const auto now = stamp(config.certificate); config.certificate == running_.certificate &&
                                                    !config.certificate.empty() &&
                                                    now != certificate_seen_)
      out.lines.push_back({"certificate: " + config.certificate + " was replaced", false});
    return out;
  }
  // The files may have been renewed: new links get what they hold now. Where that is no good, what
  // was goes on, and the text says why.
  std::string reload_certificate(const RelayConfig& config) {
    if (config.certificate.empty() || command_.config.certificate.empty()) return {};
    auto identity = load_identity(config, wall_clock());
    for (std::uint32_t i = 0; identity && i < startup_.threads.entries.size(); ++i) {
      auto tls = make_link_tls(*identity);
      if (!tls) {
        identity = std::move(tls).error();
        break;
      }
      service::RelayThread::post(
          startup_.threads, i,
          [made = std::make_unique<service::LinkTls>(std::move(*tls))](
              service::RelayThread& t) mutable { t.set_link_tls(std::move(made)); });
    }
    if (identity) return {};
    log_.error("relay.certificate",
               {{"what", identity.error().what}, {"kept", "the one of before"}});
    return "certificate: " + identity.error().what + "\n";
  }
  // authorized_agents is re-read when it changes, so that `adit allow` works at once.
  void on_watch() {
    watch_.set(loop_.now() + 1s);
    const std::int64_t now = stamp(command_.config.authorized_agents);
    if (now == agents_seen_) return;
    agents_seen_ = now;  // whatever becomes of it: not again for the same file
    reload("authorized_agents", false);
  }
  static std::int64_t stamp(const std::string& path) {
    struct stat s {};
    if (::stat(path.c_str(), &s) != 0) return 0;
    return std::int64_t{s.st_mtim.tv_sec} * 1'000'000'000 + s.st_mtim.tv_nsec +
           static_cast<std::int64_t>(s.st_ino) + s.st_size;
  }

  const RelayCommand& command_;
  const Environment& environment_;
  Log& log_;
  Startup& startup_;
  io::Loop& loop_;
  io::Timer watch_;
  std::int64_t agents_seen_;
  std::int64_t certificate_seen_ = stamp(command_.config.certificate);
  RelayConfig running_;  // what the threads have been told last, and what only a restart changes
  std::vector<route::AgentGrant> agents_;
  std::unique_ptr<io::Signals> signals_;
  RelayAdmin* admin_ = nullptr;
  bool draining_ = false;
};

struct Shared {
  const RelayCommand& command;
  const Environment& environment;
  Log& log;
  const service::RelaySettings& settings;
  const service::LinkTls& tls;
  const RelayIdentity& identity;
};

RelayFacts make_facts(const Shared& shared, const Startup& startup, const io::Loop& loop) {
  RelayFacts facts;
  facts.version = version();
  facts.commit = commit();
  facts.io_backend = io::name(loop.backend());
  facts.io_reason = startup.rows[0].backend;
  facts.threads = startup.rows.size();
  facts.listen = shared.command.config.listen;
  facts.domains = shared.command.config.domains;
  facts.pin = shared.identity.pin;
  facts.self_signed = shared.identity.self_signed;
  facts.open = shared.command.config.open;
  return facts;
}

// Thread 0's part: signals, and the admin socket.
Status start_control(const Shared& shared, Startup& startup, io::Loop& loop,
                     io::Resolver& resolver, std::optional<Control>& control,
                     std::optional<RelayAdmin>& admin, std::unique_ptr<RelayAcme>& acme) {
  control.emplace(shared.command, shared.environment, shared.log, startup, loop,
                  shared.settings.agents);
  if (auto ok = control->start(); !ok) return ok;
  using Reload = Delegate<service::AdminSource::Reloaded(bool)>;
  admin.emplace(loop, shared.log, startup.threads, make_facts(shared, startup, loop),
                Reload::to<&Control::on_reload_asked>(&*control));
  control->set_admin(*admin);
  const RelayConfig& config = shared.command.config;
  if (auto ok = admin->listen(config); !ok || config.acme.domains.empty()) return ok;
  auto made =
      RelayAcme::make(loop, resolver, shared.log, startup.threads, config, shared.identity);
  if (!made) return std::move(made).error();
  acme = std::move(*made);
  admin->set_acme(*acme);
  return {};
}

// All is bound: what the threads do not need any more goes. Each for itself but for the user, who
// is the process's and changes before the first thread's filter forbids it.
void give_up(std::uint32_t index, const Shared& shared, Startup& startup) {
  const SandboxPlan plan = make_sandbox_plan(shared.command.config, shared.command.sources);
  if (index == 0 && startup.first_error() == nullptr) {
    if (auto ok = change_user(plan); !ok) startup.rows[0].error = ok.error();
  }
  startup.step.arrive_and_wait();
  if (startup.first_error() == nullptr) startup.rows[index].sandbox = enter_sandbox(plan);
  startup.step.arrive_and_wait();
}

void say_sandbox(const Startup& startup, Log& log, RelayAdmin& admin) {
  admin.set_sandbox(startup.rows[0].sandbox);
  log.info("relay.sandbox", {{"state", sandbox_text(startup.rows[0].sandbox)}});
  for (std::size_t i = 1; i < startup.rows.size(); ++i) {
    if (startup.rows[i].sandbox == startup.rows[0].sandbox) continue;
    log.warn("relay.sandbox", {{"thread", i}, {"state", sandbox_text(startup.rows[i].sandbox)}});
  }
}

// One thread from its loop to its end. The barriers: every loop is there before messages are sent,
// every thread listens before any serves, all have stopped before the first is destroyed, and all
// services are destroyed before the first loop is.
void run_thread(std::uint32_t index, const Shared& shared, Startup& startup) {
  auto& row = startup.rows[index];
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<io::Resolver> resolver;
  std::optional<service::RelayThread> thread;
  std::optional<Control> control;
  std::optional<RelayAdmin> admin;
  std::unique_ptr<RelayAcme> acme;
  std::optional<HeapKeeper> heap;
  if (auto choice = choose_loop(shared.command.config.io_backend); !choice) {
    row.error = choice.error();
  } else {
    loop = std::move(choice->loop);
    row.backend = choice->reason;
    auto opened = io::make_cares_resolver(*loop, {});
    if (!opened) {
      row.error = opened.error();
    } else {
      resolver = std::move(*opened);
      thread.emplace(index, startup.threads, *loop, *resolver, shared.log, shared.settings,
                     shared.tls, shared.identity.reset_secret);
      startup.threads.entries[index] = {loop.get(), &*thread};
    }
  }
  startup.step.arrive_and_wait();
  // One after the other: QUIC packets are steered to sockets by the order in which they were bound.
  for (std::uint32_t turn = 0; turn < startup.rows.size(); ++turn) {
    if (turn == index && startup.first_error() == nullptr) {
      service::RelayPorts ports = make_ports(shared.command.config);
      ports.bound = &startup.privileged;
      if (auto ok = thread->listen(ports); !ok) row.error = ok.error();
    }
    startup.step.arrive_and_wait();
  }
  if (index == 0 && startup.first_error() == nullptr) {
    auto ok = start_control(shared, startup, *loop, *resolver, control, admin, acme);
    if (!ok) row.error = ok.error();
  }
  startup.step.arrive_and_wait();
  give_up(index, shared, startup);
  if (startup.first_error() == nullptr) {
    if (index == 0) {
      say_sandbox(startup, shared.log, *admin);
      shared.log.info("relay.ready", {{"version", version()}, {"backend", row.backend},
                                      {"threads", startup.rows.size()},
                                      {"key", shared.identity.pin}});
    }
    if (index == 0) heap.emplace(*loop);
    if (acme != nullptr) acme->start();  // visitors are served from now on, validators too
    loop->run();
  }
  startup.step.arrive_and_wait();
  heap.reset();
  admin.reset();
  acme.reset();
  control.reset();
  thread.reset();
  startup.step.arrive_and_wait();
  resolver.reset();
}

}  // namespace

WallTime wall_clock() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return WallTime{std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec};
}

Result<io::LoopChoice> choose_loop(IoBackend backend) {
  switch (backend) {
    case IoBackend::Uring: return io::make_loop(io::Backend::Uring);
    case IoBackend::Epoll: return io::make_loop(io::Backend::Epoll);
    case IoBackend::Auto: break;
  }
  return io::make_loop();
}

int run_relay(const RelayCommand& command, const Environment& environment) {
  const RelayConfig& config = command.config;
  crypto::init();
  LogSink log(STDERR_FILENO, config.log, wants_colour(STDERR_FILENO, environment), wall_clock);
  auto identity = load_identity(config, wall_clock());
  if (!identity) {
    log.error("relay.identity", {{"what", identity.error().what}});
    return exit_code::kConfiguration;
  }
  auto tls = make_link_tls(*identity);
  if (!tls) {
    log.error("relay.certificate", {{"what", tls.error().what}});
    return exit_code::kConfiguration;
  }
  if (identity->self_signed && !config.acme.domains.empty()) {
    log.info("relay.self_signed",
             {{"what", "until the ACME server has issued a certificate"}, {"pin", identity->pin}});
  } else if (identity->self_signed) {
    log.warn("relay.self_signed",
             {{"what", "development certificate: agents pin or remember its key"},
              {"pin", identity->pin}});
  }
  if (config.open) {
    log.warn("relay.open", {{"what", "every agent is admitted to its own {id} name (--open)"}});
  }
  SettingsAndFaults made = make_settings(config);
  for (const std::string& f : made.faults) log.error("relay.agents_file", {{"what", f}});
  if (config.node.wanted()) {
    std::vector<std::uint16_t> own_ports;
    for (const ListenConfig& l : config.listen) own_ports.push_back(l.address.port);
    std::vector<std::string> warnings;
    auto node = make_node_settings(config.node, environment, std::move(own_ports), warnings);
    if (!node) {
      log.error("relay.node", {{"what", node.error().what}});
      return exit_code::kConfiguration;
    }
    for (const std::string& w : warnings) log.warn("relay.node", {{"what", w}});
    made.settings.node = std::move(*node);
  }
  for (const ListenConfig& l : config.listen)
    log.info("relay.listen", {{"address", l.address.text()}, {"tcp", l.tcp}, {"udp", l.udp}});

  const service::RelayPorts ports = make_ports(config);
  for (const auto& [addresses, kind] : {std::pair(&ports.tcp, io::PortKind::Tcp),
                                        std::pair(&ports.udp, io::PortKind::Udp)}) {
    for (const Address& at : *addresses) {
      auto is_free = io::check_port_free(at, kind);
      if (is_free) continue;
      log.error("relay.start_failed", {{"what", is_free.error().what}});
      return is_free.error().code == EADDRINUSE ? exit_code::kTaken : exit_code::kConfiguration;
    }
  }

  const unsigned count =
      config.threads != 0 ? config.threads : std::max(1u, std::thread::hardware_concurrency());
  Startup startup(count);
  const Shared shared{command, environment, log, made.settings, *tls, *identity};
  // Signals are for thread 0: the others inherit a mask without them.
  sigset_t blocked, before;
  sigemptyset(&blocked);
  for (int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&blocked, s);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < count; ++i)
    threads.emplace_back([i, &shared, &startup] { run_thread(i, shared, startup); });
  run_thread(0, shared, startup);
  threads.clear();
  if (const Error* e = startup.first_error()) {
    log.error("relay.start_failed", {{"what", e->what}});
    return e->code == EADDRINUSE ? exit_code::kTaken : exit_code::kConfiguration;
  }
  log.info("relay.stopped");
  return exit_code::kDone;
}

}  // namespace adit::app
