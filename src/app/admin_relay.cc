#include "app/admin_relay.h"

#include <filesystem>
#include <system_error>

#include "app/relay_acme.h"

namespace adit::app {

namespace {

namespace fs = std::filesystem;

// Only the relay's own folder is made; another one may be misspelt, or not mounted yet.
Status make_state_dir(const RelayConfig& config) {
  if (fs::path(config.admin).parent_path() != fs::path(config.state_dir)) return {};
  std::error_code error;
  if (!fs::create_directories(config.state_dir, error)) {
    if (!error) return {};  // there already
    return Error{error.value(), config.state_dir + ": " + error.message()};
  }
  fs::permissions(config.state_dir, fs::perms::owner_all, error);
  if (error) return Error{error.value(), config.state_dir + ": " + error.message()};
  return {};
}

}  // namespace

RelayAdmin::RelayAdmin(io::Loop& loop, Log& log, const service::RelayThreads& threads,
                       RelayFacts facts, Delegate<Reloaded(bool dry_run)> reload)
    : loop_(loop),
      facts_(std::move(facts)),
      start_(loop.now()),
      reload_(reload),
      collector_(loop, threads),
      server_(loop, log, *this) {
  facts_.started = loop.wall_time();
}

Status RelayAdmin::listen(const RelayConfig& config) {
  if (auto made = make_state_dir(config); !made) return std::move(made).error().with("admin");
  if (auto ok = server_.listen_operator(config.admin); !ok) {
    return std::move(ok).error().with("admin");
  }
  if (!config.metrics) return {};
  return server_.listen_metrics(*config.metrics).with("metrics");
}

void RelayAdmin::set_config(const RelayConfig& config) {
  // Listeners stay as they were bound.
  facts_.domains = config.domains;
  facts_.open = config.open;
}

void RelayAdmin::ask(service::AdminQuestion& question) {
  waiting_.push_back(question);
  if (!collector_.busy()) collect();
}

// What the threads have to do beyond saying what they have: a collection for this question alone.
service::ThreadQuery RelayAdmin::query_of(const service::AdminQuestion& question) {
  switch (question.page()) {
    case service::AdminPage::ExplainJson:
    case service::AdminPage::ExplainText: return {question.argument(), {}};
    case service::AdminPage::Kick: return {{}, question.argument()};
    default: return {};
  }
}

void RelayAdmin::collect() {
  const service::ThreadQuery query = query_of(*waiting_.front());
  do {
    asked_.push_back(*waiting_.pop_front());
  } while (query == service::ThreadQuery{} && !waiting_.empty() &&
           query_of(*waiting_.front()) == query);
  collector_.collect(service::StatusCollector::Done::to<&RelayAdmin::on_report>(this), query);
}

void RelayAdmin::on_report(const service::RelayReport& report) {
  const RelayFacts facts = facts_now();
  Questions answered;
  answered.take_all(asked_);
  if (!waiting_.empty()) collect();
  while (service::AdminQuestion* question = answered.front()) {
    switch (question->page()) {
      case service::AdminPage::StatusJson: question->answer(status_json(facts, report)); break;
      case service::AdminPage::StatusText: question->answer(status_text(facts, report)); break;
      case service::AdminPage::Metrics:
        question->answer(metrics_page(facts, report, read_process_facts()));
        break;
      case service::AdminPage::AgentsJson: question->answer(agents_json(report)); break;
      case service::AdminPage::AgentsText: question->answer(agents_text(report)); break;
      case service::AdminPage::ExplainJson:
        question->answer(explain_json(question->argument(), report));
        break;
      case service::AdminPage::ExplainText:
        question->answer(explain_text(question->argument(), report));
        break;
      case service::AdminPage::Kick:
        question->answer(kicked_text(question->argument(), report));
        break;
    }
  }
}

RelayFacts RelayAdmin::facts_now() const {
  RelayFacts out = facts_;
  out.uptime = loop_.now() - start_;
  if (acme_ != nullptr) {
    out.certificates = acme_->status();
    out.self_signed = !acme_->has_certificate();
  }
  return out;
}

}  // namespace adit::app
