// The pages of `adit explain`: what became of visitors, and what would become of the next one.

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "app/admin_pages.h"

namespace adit::app {
namespace {

using service::Forecast;
using service::VisitorRecord;

// The newest first, over threads. A visitor that was handed over is in two of them.
std::vector<VisitorRecord> visitors_of(const service::RelayReport& report) {
  std::vector<VisitorRecord> out;
  for (const service::ThreadStatus& t : report.threads)
    out.insert(out.end(), t.visitors.begin(), t.visitors.end());
  std::stable_sort(out.begin(), out.end(), [](const VisitorRecord& a, const VisitorRecord& b) {
    return a.at.ns > b.at.ns;
  });
  if (out.size() > service::VisitorJournal::kMatchesMax)
    out.resize(service::VisitorJournal::kMatchesMax);
  return out;
}

// Of the thread that has the agent's session, else of the first.
std::optional<Forecast> forecast_of(const service::RelayReport& report) {
  std::optional<Forecast> out;
  for (const service::ThreadStatus& t : report.threads)
    if (t.forecast && (!out || t.forecast->decisive)) out = t.forecast;
  return out;
}

std::string outcome_text(const VisitorRecord& v) {
  if (v.outcome.empty()) return "under way";
  return fmt::format("{} after {:.3f} s, {} in, {} out", v.outcome,
                     std::chrono::duration<double>(v.took).count(), bytes_text(v.bytes_in),
                     bytes_text(v.bytes_out));
}

}  // namespace

std::string explain_json(const std::string& what, const service::RelayReport& report) {
  service::JsonWriter json;
  json.begin_object();
  json.string("asked", what);
  if (const auto now = forecast_of(report)) {
    json.begin_object("now");
    json.string("rule", now->rule);
    json.boolean("served", now->served);
    json.begin_array("facts");
    for (const std::string& fact : now->facts) json.string(fact);
    json.end();
    json.end();
  } else {
    json.null("now");
  }
  json.begin_array("visitors");
  for (const VisitorRecord& v : visitors_of(report)) {
    json.begin_object();
    json.string("id", service::visitor_id_text(v.id));
    json.string("at", utc_text(v.at));
    json.string("source", v.source.text());
    json.string("sni", v.sni);
    json.string("alpn", v.alpn);
    json.string("decision", v.decision);
    json.string("destination", v.destination);
    json.string("outcome", v.outcome.empty() ? "under way" : v.outcome);
    json.number("bytes_in", v.bytes_in);
    json.number("bytes_out", v.bytes_out);
    json.decimal("seconds", std::chrono::duration<double>(v.took).count());
    json.end();
  }
  json.end();
  json.begin_array("threads_missing");
  for (const std::uint32_t thread : report.missing) json.element(thread);
  json.end();
  json.end();
  return std::move(json).text();
}

std::string explain_text(const std::string& what, const service::RelayReport& report) {
  std::string out;
  if (const auto now = forecast_of(report)) {
    out += fmt::format("A visitor of {} now {}: {}\n", what,
                       now->served ? "is served" : "is not served", now->rule);
    for (const std::string& fact : now->facts) out += "  " + fact + "\n";
    out += "\n";
  }
  const std::vector<VisitorRecord> visitors = visitors_of(report);
  for (const VisitorRecord& v : visitors) {
    out += fmt::format("{}  {}  from {}\n", service::visitor_id_text(v.id), utc_text(v.at),
                       v.source.text());
    out += fmt::format("  asked for  {}{}\n", v.sni.empty() ? "(no name)" : v.sni,
                       v.alpn.empty() ? "" : " with ALPN " + v.alpn);
    out += fmt::format("  decided    {}\n", v.decision);
    if (!v.destination.empty()) out += fmt::format("  went to    {}\n", v.destination);
    out += fmt::format("  came of it {}\n", outcome_text(v));
  }
  if (visitors.empty()) out += "no visitor is remembered of " + what + "\n";
  for (const std::uint32_t thread : report.missing)
    out += fmt::format("thread {} did not answer in time; its visitors are not shown\n", thread);
  return out;
}

}  // namespace adit::app
