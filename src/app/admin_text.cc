// `adit status` as people read it.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "app/admin_pages.h"

namespace adit::app {
namespace {

using Agent = service::ThreadStatus::Agent;

std::string rtt_text(const Agent& a) {
  if (a.carrier.empty()) return "-";
  const double ms = std::chrono::duration<double, std::milli>(a.rtt).count();
  return ms < 10 ? fmt::format("{:.1f} ms", ms) : fmt::format("{:.0f} ms", ms);
}

// "7 refused (unknown_name 5, bad_hello 2)", the most frequent first.
std::string refused_text(std::vector<RelayTotals::Reason> reasons) {
  std::ranges::sort(reasons, [](const RelayTotals::Reason& a, const RelayTotals::Reason& b) {
    return a.count != b.count ? a.count > b.count : a.name < b.name;
  });
  std::int64_t sum = 0;
  std::string list;
  for (const RelayTotals::Reason& r : reasons) {
    sum += r.count;
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", r.name, r.count);
  }
  return list.empty() ? "0 refused" : fmt::format("{} refused ({})", sum, list);
}

std::string names_text(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    out += (i == 0 ? "" : ", ") + names[i];
  }
  if (out.empty()) return "-";
  if (names.size() > kShown) out += fmt::format(" and {} more", names.size() - kShown);
  return out;
}

std::string agents_table(const service::RelayReport& report) {
  std::vector<std::vector<std::string>> rows{
      {"AGENT", "STATE", "CARRIER", "PEER", "RTT", "STREAMS", "SERVING", "NAMES"}};
  for (const service::ThreadStatus& t : report.threads) {
    for (const Agent& a : t.agents) {
      const bool linked = !a.carrier.empty();
      rows.push_back({a.key_id, a.state, linked ? a.carrier : "-", linked ? a.peer : "-",
                      rtt_text(a), std::to_string(a.streams), serving_text(a),
                      names_text(a.names)});
    }
  }
  return rows.size() == 1 ? "no agents\n" : table_text(rows);
}

std::string listeners_text(const std::vector<ListenConfig>& listen) {
  std::string out;
  for (const ListenConfig& l : listen) {
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", l.address.text(),
                       l.tcp && l.udp ? "tcp+udp" : l.tcp ? "tcp" : "udp");
  }
  return out;
}

}  // namespace

std::string bytes_text(std::uint64_t n) {
  constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (n < 1024) return fmt::format("{} B", n);
  double value = static_cast<double>(n) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string duration_text(Duration d) {
  const auto s = d / 1s;
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
  return fmt::format("{} d {} h", s / 86400, s / 3600 % 24);
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> width(rows.front().size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i)
      out += fmt::format("{:<{}}  ", row[i], width[i]);
    out += row.back() + "\n";
  }
  return out;
}

std::string agents_text(const service::RelayReport& report) {
  std::vector<std::vector<std::string>> rows{
      {"AGENT", "STATE", "CARRIER", "PEER", "RTT", "STREAMS", "IN", "OUT", "LIMIT", "SERVING",
       "NAMES"}};
  for (const service::ThreadStatus& t : report.threads) {
    for (const Agent& a : t.agents) {
      const bool linked = !a.carrier.empty();
      rows.push_back({a.key_id, a.state, linked ? a.carrier : "-", linked ? a.peer : "-",
                      rtt_text(a), fmt::format("{}/{}", a.streams, a.streams_max),
                      bytes_text(a.bytes_in), bytes_text(a.bytes_out),
                      a.rate == 0 ? "-" : bytes_text(a.rate) + "/s", serving_text(a),
                      names_text(a.names)});
    }
  }
  return rows.size() == 1 ? "no agents\n" : table_text(rows);
}

std::string kicked_text(const std::string& id, const service::RelayReport& report) {
  std::size_t sessions = 0;
  for (const service::ThreadStatus& t : report.threads) sessions += t.kicked;
  if (sessions == 0) return "agent " + id + " has no session here\n";
  return fmt::format("agent {}: {} session{} ended; it may come back (adit deny {} keeps it out)\n",
                     id, sessions, sessions == 1 ? "" : "s", id);
}

std::string status_text(const RelayFacts& facts, const service::RelayReport& report) {
  const RelayTotals t = totals_of(report.samples);
  std::string out = fmt::format("adit {} ({}), up {}, {}, {} thread{}{}\n", facts.version,
                                facts.commit, duration_text(facts.uptime), facts.io_backend,
                                facts.threads, facts.threads == 1 ? "" : "s",
                                facts.draining ? ", DRAINING" : "");
  const auto line = [&out](std::string_view name, std::string_view text) {
    out += fmt::format("{:<9} {}\n", name, text);
  };
  line("listens", listeners_text(facts.listen));
  line("domains", names_text(facts.domains));
  line("key", facts.pin + (facts.self_signed ? " (self-signed: for development)" : ""));
  line("sandbox", sandbox_text(facts.sandbox));
  if (facts.open) line("open", "every agent is admitted (--open)");
  line("visitors", fmt::format("{} open, {} accepted, {}", t.visitors_open, t.visitors_accepted,
                               refused_text(t.visitors_refused)));
  line("bytes", fmt::format("{} in, {} out", bytes_text(static_cast<std::uint64_t>(t.bytes_in)),
                            bytes_text(static_cast<std::uint64_t>(t.bytes_out))));
  line("links", fmt::format("{} up, {} accepted, {}", t.links, t.links_accepted,
                            refused_text(t.links_refused)));
  line("sessions", fmt::format("{} alive, {} resumed, {} expired, {} superseded", t.sessions,
                               t.sessions_resumed, t.sessions_expired, t.sessions_superseded));
  for (const std::uint32_t thread : report.missing) {
    line("MISSING", fmt::format("thread {} {}; its agents are not shown", thread,
                                facts.draining ? "has drained, or does not answer"
                                               : "did not answer in time"));
  }
  return out + "\n" + certificates_text(facts.certificates) + agents_table(report);
}

}  // namespace adit::app
