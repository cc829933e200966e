#include "app/admin_pages.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>


namespace adit::app {
namespace {

using service::JsonWriter;
using Agent = service::ThreadStatus::Agent;

double milliseconds(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// `reason="unknown_name"`: the value of the only label.
std::string label_value(const std::string& labels) {
  const std::size_t from = labels.find('"');
  const std::size_t to = labels.rfind('"');
  return from == to ? "other" : labels.substr(from + 1, to - from - 1);
}

void write_reasons(JsonWriter& json, std::string_view key,
                   const std::vector<RelayTotals::Reason>& reasons) {
  json.begin_object(key);
  for (const RelayTotals::Reason& r : reasons) json.number(r.name, r.count);
  json.end();
}

void write_totals(JsonWriter& json, const RelayTotals& t) {
  json.begin_object("totals");
  json.number("visitors_open", t.visitors_open);
  json.number("visitors_accepted", t.visitors_accepted);
  json.number("visitors_handed_over", t.visitors_handed_over);
  write_reasons(json, "visitors_refused", t.visitors_refused);
  json.number("bytes_in", t.bytes_in);
  json.number("bytes_out", t.bytes_out);
  json.number("links", t.links);
  json.number("links_accepted", t.links_accepted);
  write_reasons(json, "links_refused", t.links_refused);
  json.number("sessions", t.sessions);
  json.number("sessions_started", t.sessions_started);
  json.number("sessions_resumed", t.sessions_resumed);
  json.number("sessions_expired", t.sessions_expired);
  json.number("sessions_superseded", t.sessions_superseded);
  json.number("streams", t.streams);
  json.end();
}

void write_facts(JsonWriter& json, const RelayFacts& facts) {
  json.string("version", facts.version);
  json.string("commit", facts.commit);
  json.string("started", utc_text(facts.started));
  json.number("uptime_s", facts.uptime / 1s);
  json.begin_object("io");
  json.string("backend", facts.io_backend);
  json.string("reason", facts.io_reason);
  json.end();
  json.begin_array("listeners");
  for (const ListenConfig& l : facts.listen) {
    json.begin_object();
    json.string("address", l.address.text());
    json.boolean("tcp", l.tcp);
    json.boolean("udp", l.udp);
    json.end();
  }
  json.end();
  json.begin_array("domains");
  for (const std::string& domain : facts.domains) json.string(domain);
  json.end();
  json.string("pin", facts.pin);
  json.boolean("self_signed", facts.self_signed);
  json.boolean("open", facts.open);
  json.boolean("draining", facts.draining);
  write_sandbox(json, facts.sandbox);
  write_certificates(json, facts.certificates);
}

}  // namespace

void write_agent(JsonWriter& json, const Agent& a, std::uint32_t thread) {
  json.begin_object();
  json.string("id", a.key_id);
  json.begin_array("names");
  for (const std::string& name : a.names) json.string(name);
  json.end();
  json.string("state", a.state);
  if (a.carrier.empty()) {  // between two links
    json.null("carrier");
    json.null("peer");
    json.null("rtt_ms");
  } else {
    json.string("carrier", a.carrier);
    json.string("peer", a.peer);
    json.decimal("rtt_ms", milliseconds(a.rtt));
  }
  json.number("streams", a.streams);
  json.number("retained_bytes", a.retained_bytes);
  if (a.probe) {
    json.begin_object("probe");
    json.boolean("serving", a.probe->serving);
    json.string("leg", service::name(a.probe->leg));
    json.string("what", a.probe->what);
    json.number("since_s", a.probe_age / 1s);
    json.decimal("ms", milliseconds(a.probe->took));
    json.end();
  } else {
    json.null("probe");
  }
  json.number("streams_max", a.streams_max);
  json.number("bytes_in", a.bytes_in);
  json.number("bytes_out", a.bytes_out);
  json.number("rate_limit", a.rate);
  json.number("thread", thread);
  json.end();
}

std::string serving_text(const Agent& a) {
  if (!a.probe) return "-";
  const std::string age = duration_text(a.probe_age);
  if (a.probe->serving) return "serving for " + age;
  return "FAILING at " + std::string(service::name(a.probe->leg)) + " for " + age + " (" +
         a.probe->what + ")";
}

void write_sandbox(JsonWriter& json, const SandboxFacts& facts) {
  json.begin_object("sandbox");
  json.boolean("on", facts.on);
  json.string("user", facts.user);
  json.string("capabilities", facts.capabilities);
  json.boolean("no_new_privs", facts.no_new_privileges);
  json.string("system_calls", facts.calls);
  json.string("files", facts.files);
  json.end();
}

RelayTotals totals_of(const std::vector<MetricSample>& samples) {
  std::map<std::string, std::int64_t, std::less<>> plain;
  std::map<std::string, std::int64_t> visitors_refused, links_refused;
  for (const MetricSample& s : samples) {
    if (s.name == "adit_visitors_refused_total") {
      visitors_refused[label_value(s.labels)] += s.value;
    } else if (s.name == "adit_links_refused_total") {
      links_refused[label_value(s.labels)] += s.value;
    } else {
      plain[s.labels.empty() ? s.name : s.name + ":" + label_value(s.labels)] += s.value;
    }
  }
  const auto sum = [&plain](std::string_view name) {
    const auto found = plain.find(name);
    return found == plain.end() ? 0 : found->second;
  };
  const auto list = [](const std::map<std::string, std::int64_t>& counts) {
    std::vector<RelayTotals::Reason> out;
    for (const auto& [name, count] : counts)
      if (count != 0) out.push_back({name, count});
    return out;
  };
  RelayTotals t;
  t.visitors_open = sum("adit_visitors_open");
  t.visitors_accepted = sum("adit_visitors_accepted_total");
  t.visitors_handed_over = sum("adit_visitors_handed_over_total");
  t.visitors_refused = list(visitors_refused);
  t.bytes_in = sum("adit_visitor_bytes_total:in");
  t.bytes_out = sum("adit_visitor_bytes_total:out");
  t.links = sum("adit_links");
  t.links_accepted = sum("adit_links_total");
  t.links_refused = list(links_refused);
  t.sessions = sum("adit_sessions");
  t.sessions_started = sum("adit_sessions_total");
  t.sessions_resumed = sum("adit_sessions_resumed_total");
  t.sessions_expired = sum("adit_sessions_expired_total");
  t.sessions_superseded = sum("adit_sessions_superseded_total");
  t.streams = sum("adit_streams_total");
  return t;
}

std::string status_json(const RelayFacts& facts, const service::RelayReport& report) {
  JsonWriter json;
  json.begin_object();
  write_facts(json, facts);
  json.begin_array("threads");
  for (const service::ThreadStatus& t : report.threads) {
    json.begin_object();
    json.number("thread", t.thread);
    json.number("half_open", t.half_open);
    json.number("forwarded", t.forwarded);
    json.number("links", t.links);
    json.end();
  }
  json.end();
  json.begin_array("threads_missing");
  for (const std::uint32_t thread : report.missing) json.element(thread);
  json.end();
  json.begin_array("agents");
  for (const service::ThreadStatus& t : report.threads)
    for (const Agent& a : t.agents) write_agent(json, a, t.thread);
  json.end();
  write_totals(json, totals_of(report.samples));
  json.end();
  return std::move(json).text();
}

std::string agents_json(const service::RelayReport& report) {
  JsonWriter json;
  json.begin_object();
  json.begin_array("agents");
  for (const service::ThreadStatus& t : report.threads)
    for (const Agent& a : t.agents) write_agent(json, a, t.thread);
  json.end();
  json.begin_array("threads_missing");
  for (const std::uint32_t thread : report.missing) json.element(thread);
  json.end();
  json.end();
  return std::move(json).text();
}

std::string metrics_page(const RelayFacts& facts, const service::RelayReport& report,
                         const ProcessFacts& process) {
  std::string out = prometheus_text(report.samples);
  const auto add = [&out](std::string_view name, const auto& value) {
    out += fmt::format("# TYPE {0} gauge\n{0} {1}\n", name, value);
  };
  add("adit_threads", facts.threads);
  add("adit_threads_missing", report.missing.size());
  add("adit_draining", facts.draining ? 1 : 0);
  return out + process_metrics({facts.version, facts.commit, facts.started, facts.uptime}, process);
}

std::string utc_text(WallTime when) {
  const std::time_t seconds = static_cast<std::time_t>(when.seconds());
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", parts);
}

std::string process_metrics(const BuildFacts& build, const ProcessFacts& process) {
  std::string out = "# TYPE adit_build_info gauge\n";
  const auto add = [&out](std::string_view name, std::string_view type, const auto& value) {
    out += fmt::format("# TYPE {0} {1}\n{0} {2}\n", name, type, value);
  };
  out += fmt::format("adit_build_info{{version=\"{}\",commit=\"{}\"}} 1\n", build.version,
                     build.commit);
  add("adit_uptime_seconds", "gauge", build.uptime / 1s);
  add("process_start_time_seconds", "gauge", build.started.seconds());
  add("process_cpu_seconds_total", "counter", fmt::format("{:.3f}", process.cpu_seconds));
  add("process_resident_memory_bytes", "gauge", process.resident_bytes);
  add("process_open_fds", "gauge", process.open_fds);
  add("process_max_fds", "gauge", process.max_fds);
  return out;
}

}  // namespace adit::app
