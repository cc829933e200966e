#include "app/admin_pages.h"

#include <gtest/gtest.h>

namespace adit::app {
namespace {

RelayFacts facts() {
  RelayFacts f;
  f.version = "1.2.3";
  f.commit = "0123456789ab";
  f.started = WallTime{1'600'000'000'000'000'000};
  f.uptime = 3h + 12min + 5s;
  f.io_backend = "io_uring";
  f.io_reason = "io_uring: DEFER_TASKRUN";
  f.threads = 2;
  f.listen = {{Address{IpAddress::any4(), 443}},
              {Address{IpAddress::loopback4(), 8443}, true, false}};
  f.domains = {"t.example.com"};
  f.pin = "sha256/abc=";
  f.sandbox = {true, "adit", "none", true, "filtered", "Landlock 7"};
  return f;
}

service::RelayReport report() {
  service::RelayReport r;
  r.threads.resize(2);
  service::ThreadStatus& first = r.threads[0];
  first.half_open = 1;
  first.forwarded = 2;
  first.links = 1;
  service::ThreadStatus::Agent& linked = first.agents.emplace_back();
  linked.key_id = "abcd";
  linked.carrier = "quic";
  linked.peer = "192.0.2.1:5000";
  linked.state = "attached";
  linked.names = {"a.t.example.com", "b.t.example.com"};
  linked.streams = 3;
  linked.retained_bytes = 4096;
  linked.rtt = 12'345'678ns;
  linked.streams_max = 10;
  linked.bytes_in = 2048;
  linked.bytes_out = 100;
  linked.rate = 1 << 20;
  linked.probe = {false, Instant{}, service::ProbeLeg::Link, "x", 5s, 1};
  linked.probe_age = 3s;
  r.threads[1].thread = 1;
  service::ThreadStatus::Agent& waiting = r.threads[1].agents.emplace_back();
  waiting.key_id = "efghij";
  waiting.state = "waiting";
  r.samples = {{"adit_visitors_open", "", 2, false},
               {"adit_visitors_open", "", 3, false},
               {"adit_visitors_accepted_total", "", 100, true},
               {"adit_visitors_refused_total", "reason=\"bad_hello\"", 0, true},
               {"adit_visitors_refused_total", "reason=\"relay_name\"", 2, true},
               {"adit_visitors_refused_total", "reason=\"unknown_name\"", 5, true},
               {"adit_visitors_refused_total", "reason=\"unknown_name\"", 1, true},
               {"adit_visitor_bytes_total", "direction=\"in\"", 1'000, true},
               {"adit_visitor_bytes_total", "direction=\"out\"", 3'000'000, true},
               {"adit_visitors_handed_over_total", "", 7, true},
               {"adit_links", "", 1, false},
               {"adit_links_total", "", 9, true},
               {"adit_links_refused_total", "code=\"not_authorized\"", 4, true},
               {"adit_sessions", "", 2, false},
               {"adit_sessions_total", "", 8, true},
               {"adit_sessions_resumed_total", "", 6, true},
               {"adit_sessions_expired_total", "", 1, true},
               {"adit_sessions_superseded_total", "", 3, true},
               {"adit_streams_total", "", 55, true}};
  return r;
}

TEST(AdminPages, StatusJson) {
  EXPECT_EQ(
      status_json(facts(), report()),
      R"({"version":"1.2.3","commit":"0123456789ab","started":"2020-09-13T12:26:40Z",)"
      R"("uptime_s":11525,"io":{"backend":"io_uring","reason":"io_uring: DEFER_TASKRUN"},)"
      R"("listeners":[{"address":"0.0.0.0:443","tcp":true,"udp":true},)"
      R"({"address":"127.0.0.1:8443","tcp":true,"udp":false}],"domains":["t.example.com"],)"
      R"("pin":"sha256/abc=","self_signed":false,"open":false,"draining":false,)"
      R"("sandbox":{"on":true,"user":"adit","capabilities":"none","no_new_privs":true,)"
      R"("system_calls":"filtered","files":"Landlock 7"},)"
      R"("threads":[{"thread":0,"half_open":1,"forwarded":2,"links":1},)"
      R"({"thread":1,"half_open":0,"forwarded":0,"links":0}],"threads_missing":[],)"
      R"("agents":[{"id":"abcd","names":["a.t.example.com","b.t.example.com"],)"
      R"("state":"attached","carrier":"quic","peer":"192.0.2.1:5000","rtt_ms":12.346,)"
      R"("streams":3,"retained_bytes":4096,)"
      R"("probe":{"serving":false,"leg":"link","what":"x","since_s":3,"ms":5000},)"
      R"("streams_max":10,"bytes_in":2048,"bytes_out":100,"rate_limit":1048576,"thread":0},)"
      R"({"id":"efghij","names":[],)"
      R"("state":"waiting","carrier":null,"peer":null,"rtt_ms":null,)"
      R"("streams":0,"retained_bytes":0,"probe":null,"streams_max":0,"bytes_in":0,"bytes_out":0,)"
      R"("rate_limit":0,"thread":1}],)"
      R"("totals":{"visitors_open":5,"visitors_accepted":100,"visitors_handed_over":7,)"
      R"("visitors_refused":{"relay_name":2,"unknown_name":6},"bytes_in":1000,)"
      R"("bytes_out":3000000,"links":1,"links_accepted":9,)"
      R"("links_refused":{"not_authorized":4},"sessions":2,"sessions_started":8,)"
      R"("sessions_resumed":6,"sessions_expired":1,"sessions_superseded":3,"streams":55}})"
      "\n");
}

TEST(AdminPages, StatusText) {
  service::RelayReport r = report();
  r.threads[0].agents[0].names = {"a.test"};
  EXPECT_EQ(status_text(facts(), r),
            R"(adit 1.2.3 (0123456789ab), up 3 h 12 min, io_uring, 2 threads
listens   0.0.0.0:443 tcp+udp, 127.0.0.1:8443 tcp
domains   t.example.com
key       sha256/abc=
sandbox   user adit, capabilities none, no_new_privs, system calls filtered, files Landlock 7
visitors  5 open, 100 accepted, 8 refused (unknown_name 6, relay_name 2)
bytes     1000 B in, 2.9 MiB out
links     1 up, 9 accepted, 4 refused (not_authorized 4)
sessions  2 alive, 6 resumed, 1 expired, 3 superseded

AGENT   STATE     CARRIER  PEER            RTT    STREAMS  SERVING                      NAMES
abcd    attached  quic     192.0.2.1:5000  12 ms  3        FAILING at link for 3 s (x)  a.test
efghij  waiting   -        -               -      0        -                            -
)");
}

TEST(AdminPages, Agents) {
  const std::string text = agents_text(report());
  EXPECT_NE(text.find("12 ms  3/10     2.0 KiB  100 B  1.0 MiB/s  "), std::string::npos) << text;
  EXPECT_EQ(agents_text({}), "no agents\n");
  EXPECT_TRUE(agents_json(report()).starts_with(R"({"agents":[{"id":"abcd",)"));
  service::RelayReport kicked = report();
  EXPECT_EQ(kicked_text("x", kicked), "agent x has no session here\n");
  kicked.threads[1].kicked = 2;
  EXPECT_TRUE(kicked_text("x", kicked).starts_with("agent x: 2 sessions ended; "));
}

TEST(AdminPages, Explain) {
  service::RelayReport r = report();
  service::VisitorRecord old, late;
  old.id = 1;
  old.at = WallTime{1'600'000'000'000'000'000};
  old.sni = "a.test";
  old.decision = "none reason=unknown_name";
  old.outcome = "refused: unknown_name";
  late = old;
  late.id = 2;
  late.at.ns += 1'000'000'000;
  late.destination = "10.0.0.1:443";
  late.outcome.clear();
  r.threads[0].visitors = {old};
  r.threads[1].visitors = {late};
  r.threads[0].forecast = {"agent name=a.test key=a.test", false, false, {"on thread 1"}};
  r.threads[1].forecast = {"agent name=a.test key=a.test", true, true, {"agent x over quic"}};
  const std::string text = explain_text("a.test", r);
  EXPECT_TRUE(text.starts_with("A visitor of a.test now is served: agent name=a.test key=a.test\n"
                               "  agent x over quic\n\n0000000000000002  2020-09-13T12:26:41Z"))
      << text;
  EXPECT_NE(text.find("  came of it under way\n0000000000000001"), std::string::npos) << text;
  EXPECT_NE(text.find("  came of it refused: unknown_name after 0.000 s, 0 B in, 0 B out\n"),
            std::string::npos);
  const std::string json = explain_json("a.test", r);
  EXPECT_NE(json.find(R"("now":{"rule":"agent name=a.test key=a.test","served":true,)"),
            std::string::npos);
  EXPECT_EQ(explain_text("x", {}), "no visitor is remembered of x\n");
}

TEST(AdminPages, TextOfARelayThatNeedsAttention) {
  RelayFacts f = facts();
  f.self_signed = f.open = f.draining = true;
  f.threads = 1;
  f.uptime = 59s;
  service::RelayReport r;
  r.missing = {3};
  const std::string text = status_text(f, r);
  for (const std::string_view part :
       {"up 59 s, io_uring, 1 thread, DRAINING\n", "key       sha256/abc= (self-signed: ",
        "open      every agent is admitted (--open)\n", "0 refused\n",
        "MISSING   thread 3 has drained, or does not answer; ", "\nno agents\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(AdminPages, ManyNamesAreCounted) {
  service::RelayReport r = report();
  r.threads[1].agents[0].names = {"a", "b", "c", "d", "e"};
  EXPECT_NE(status_text(facts(), r).find("a, b, c and 2 more\n"), std::string::npos);
}

TEST(AdminPages, HostileTextIsEscapedInJson) {
  service::RelayReport r = report();
  r.threads[0].agents[0].peer = "\"}\n\x1b[2J\xff";
  EXPECT_NE(status_json(facts(), r).find(R"("peer":"\"}\u000a\u001b[2J\ufffd")"),
            std::string::npos);
}

TEST(AdminPages, EmptyReport) {
  service::RelayReport r;
  r.missing = {0, 1};
  const std::string json = status_json(facts(), r);
  EXPECT_NE(json.find(R"("threads":[],"threads_missing":[0,1],"agents":[],)"), std::string::npos);
}

TEST(AdminPages, Metrics) {
  service::RelayReport r = report();
  r.missing = {1};
  const std::string text = metrics_page(facts(), r, {1.25, 4096, 7, 1024});
  for (const std::string_view part :
       {"# TYPE adit_visitors_open gauge\nadit_visitors_open 5\n",
        "adit_visitors_refused_total{reason=\"unknown_name\"} 6\n",
        "# TYPE adit_build_info gauge\n",
        "\nadit_build_info{version=\"1.2.3\",commit=\"0123456789ab\"} 1\n",
        "# TYPE adit_uptime_seconds gauge\nadit_uptime_seconds 11525\n",
        "adit_threads 2\n", "adit_threads_missing 1\n", "adit_draining 0\n",
        "process_start_time_seconds 1600000000\n",
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.250\n",
        "process_resident_memory_bytes 4096\n", "process_open_fds 7\n", "process_max_fds 1024\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_TRUE(text.ends_with('\n'));
}

TEST(AdminPages, ProcessFactsAreThere) {
  const ProcessFacts p = read_process_facts();
  EXPECT_GT(p.cpu_seconds, 0);
  EXPECT_GT(p.resident_bytes, 100'000u);
  EXPECT_GE(p.open_fds, 3u);
  EXPECT_GE(p.max_fds, p.open_fds);
}

}  // namespace
}  // namespace adit::app
