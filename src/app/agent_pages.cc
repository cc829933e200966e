#include "app/agent_pages.h"

#include <fmt/format.h>

#include <algorithm>


namespace adit::app {
namespace {

using service::JsonWriter;

double milliseconds(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

void write_uplink(JsonWriter& json, const AgentReport::Uplink& u) {
  json.begin_object();
  json.string("relay", u.relay);
  json.string("state", u.state);
  if (u.carrier.empty()) {
    json.null("carrier");
    json.null("rtt_ms");
  } else {
    json.string("carrier", u.carrier);
    json.decimal("rtt_ms", milliseconds(u.rtt));
  }
  json.number("live_s", u.live_for / 1s);
  json.number("times_live", u.times_live);
  json.number("streams", u.streams);
  json.number("retained_bytes", u.retained_bytes);
  if (u.probed_ago) {
    json.number("probed_s", *u.probed_ago / 1s);
  } else {
    json.null("probed_s");
  }
  json.begin_array("urls");
  for (const std::string& url : u.urls) json.string(url);
  json.end();
  if (u.trouble.empty()) {
    json.null("trouble");
  } else {
    json.string("trouble", u.trouble);
  }
  json.end();
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : ", ") + w;
  return out.empty() ? "-" : out;
}

}  // namespace

std::string agent_status_json(const AgentReport& report) {
  JsonWriter json;
  json.begin_object();
  json.string("version", report.build.version);
  json.string("commit", report.build.commit);
  json.string("started", utc_text(report.build.started));
  json.number("uptime_s", report.build.uptime / 1s);
  json.string("id", report.id);
  json.begin_object("io");
  json.string("backend", report.io_backend);
  json.string("reason", report.io_reason);
  json.end();
  json.boolean("stopping", report.stopping);
  write_sandbox(json, report.sandbox);
  json.number("connections", report.connections);
  json.begin_array("relays");
  for (const AgentReport::Uplink& u : report.uplinks) write_uplink(json, u);
  json.end();
  json.begin_array("services");
  for (const AgentReport::Service& s : report.services) {
    json.begin_object();
    json.string("to", s.to);
    json.begin_array("names");
    for (const std::string& name : s.names) json.string(name);
    json.end();
    json.string("mode", s.passthrough ? "passthrough" : "terminate");
    json.boolean("self_signed", s.self_signed);
    if (s.transparent.empty()) {
      json.null("transparent");
    } else {
      json.string("transparent", s.transparent);
    }
    json.end();
  }
  json.end();
  write_certificates(json, report.certificates);
  json.end();
  return std::move(json).text();
}

std::string agent_status_text(const AgentReport& report) {
  std::string out = fmt::format("adit {} ({}), agent {}, up {}, {}{}\nsandbox   {}\n\n",
                                report.build.version,
                                report.build.commit, report.id, duration_text(report.build.uptime),
                                report.io_backend, report.stopping ? ", STOPPING" : "",
                                sandbox_text(report.sandbox));
  std::vector<std::vector<std::string>> relays{
      {"RELAY", "STATE", "CARRIER", "RTT", "FOR", "STREAMS", "PROBED", "TROUBLE"}};
  for (const AgentReport::Uplink& u : report.uplinks) {
    const bool live = !u.carrier.empty();
    relays.push_back({u.relay, u.state, live ? u.carrier : "-",
                      live ? fmt::format("{:.1f} ms", milliseconds(u.rtt)) : "-",
                      live ? duration_text(u.live_for) : "-", std::to_string(u.streams),
                      u.probed_ago ? duration_text(*u.probed_ago) + " ago" : "-",
                      u.trouble.empty() ? "-" : u.trouble});
  }
  out += table_text(relays) + "\n";
  std::vector<std::vector<std::string>> services{{"SERVICE", "TLS", "SEES", "NAMES"}};
  for (const AgentReport::Service& s : report.services) {
    services.push_back({s.to,
                        s.passthrough   ? "passed through"
                        : s.self_signed ? "ends here, self-signed"
                                        : "ends here",
                        s.transparent.empty() ? "this machine's address"
                                              : "visitors' addresses, " + s.transparent,
                        joined(s.names)});
  }
  out += table_text(services);
  if (!report.certificates.empty()) out += "\n" + certificates_text(report.certificates);
  // A URL that several relays serve is shown once.
  std::vector<std::string> urls;
  for (const AgentReport::Uplink& u : report.uplinks)
    for (const std::string& url : u.urls)
      if (std::ranges::find(urls, url) == urls.end()) urls.push_back(url);
  if (!urls.empty()) out += "\n";
  for (const std::string& url : urls) out += url + "\n";
  return out;
}

std::string agent_metrics_page(const AgentReport& report, const ProcessFacts& process) {
  std::string out = prometheus_text(report.samples);
  const auto per_relay = [&](std::string_view name, const auto& value_of) {
    out += fmt::format("# TYPE {} gauge\n", name);
    for (const AgentReport::Uplink& u : report.uplinks)
      out += fmt::format("{}{{relay=\"{}\"}} {}\n", name, u.relay, value_of(u));
  };
  per_relay("adit_agent_relay_live", [](const auto& u) { return u.carrier.empty() ? 0 : 1; });
  per_relay("adit_agent_relay_streams", [](const auto& u) { return u.streams; });
  per_relay("adit_agent_relay_retained_bytes", [](const auto& u) { return u.retained_bytes; });
  per_relay("adit_agent_relay_rtt_seconds",
            [](const auto& u) { return std::chrono::duration<double>(u.rtt).count(); });
  out += fmt::format("# TYPE adit_agent_connections gauge\nadit_agent_connections {}\n",
                     report.connections);
  return out + process_metrics(report.build, process);
}

}  // namespace adit::app
