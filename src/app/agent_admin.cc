#include "app/agent_admin.h"

#include "app/version.h"

namespace adit::app {

AgentAdmin::AgentAdmin(io::Loop& loop, Log& log, service::Agent& agent, std::string id,
                       std::string reason)
    : loop_(loop),
      agent_(agent),
      id_(std::move(id)),
      reason_(std::move(reason)),
      started_(loop.wall_time()),
      start_(loop.now()),
      server_(loop, log, *this) {}

// The state directory is there: the agent's keys are in it.
Status AgentAdmin::listen(const AgentConfig& config) {
  if (auto ok = server_.listen_operator(config.admin); !ok)
    return std::move(ok).error().with("admin");
  if (!config.metrics) return {};
  return server_.listen_metrics(*config.metrics).with("metrics");
}

// What became of visitors here; which ones come is the relay's to say.
void AgentAdmin::ask(service::AdminQuestion& question) {
  const bool text = question.page() == service::AdminPage::ExplainText;
  if (text || question.page() == service::AdminPage::ExplainJson) {
    service::RelayReport visitors;
    visitors.threads.emplace_back();
    visitors.threads.back().visitors =
        agent_.services().journal().matching(question.argument());
    return question.answer(text ? explain_text(question.argument(), visitors)
                                : explain_json(question.argument(), visitors));
  }
  const AgentReport now = report();
  switch (question.page()) {
    case service::AdminPage::StatusJson: return question.answer(agent_status_json(now));
    case service::AdminPage::StatusText: return question.answer(agent_status_text(now));
    case service::AdminPage::Metrics:
      return question.answer(agent_metrics_page(now, read_process_facts()));
    default: return question.answer({});  // has() kept it out
  }
}

bool AgentAdmin::has(service::AdminPage page) const {
  return page <= service::AdminPage::Metrics || page == service::AdminPage::ExplainJson ||
         page == service::AdminPage::ExplainText;
}

service::AdminSource::Reloaded AgentAdmin::reload(bool) {
  return {false, "an agent reads its files when it starts: restart it\n"};
}

AgentReport AgentAdmin::report() const {
  AgentReport out;
  out.build = {std::string(version()), std::string(commit()), started_, loop_.now() - start_};
  out.id = id_;
  out.io_backend = io::name(loop_.backend());
  out.io_reason = reason_;
  out.stopping = stopping_;
  out.sandbox = sandbox_;
  out.connections = agent_.services().open();
  for (const auto& uplink : agent_.uplinks()) {
    AgentReport::Uplink u;
    u.relay = uplink->target().address.text();
    u.state = uplink->state_name();
    if (const auto stats = uplink->stats()) {
      u.carrier = stats->name;
      u.rtt = stats->rtt;
    }
    u.live_for = uplink->live_for();
    u.times_live = uplink->times_live();
    u.streams = uplink->streams();
    u.retained_bytes = uplink->retained_bytes();
    u.urls = uplink->urls();
    u.trouble = uplink->trouble();
    u.probed_ago = uplink->probed_ago();
    out.uplinks.push_back(std::move(u));
  }
  const auto& services = agent_.services();
  for (std::size_t i = 0; i < services.settings().size(); ++i) {
    const service::LocalServiceSettings& s = services.settings()[i];
    const service::VisitorWays* ways = s.transparent ? services.ways() : nullptr;
    out.services.push_back({s.to.text(), s.names, s.passthrough, services.is_self_signed(i),
                            ways != nullptr ? ways->families(s) : std::string()});
  }
  out.certificates = agent_.certificates();
  out.samples = agent_.metrics().sample();
  return out;
}

}  // namespace adit::app
