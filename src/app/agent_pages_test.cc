#include "app/agent_pages.h"

#include <gtest/gtest.h>

namespace adit::app {
namespace {

AgentReport a_report() {
  AgentReport r;
  r.build = {"0.1.0", "abc", WallTime{1'700'000'000'000'000'000}, 3723s};
  r.id = "aaaabbbb";
  r.io_backend = "io_uring";
  r.io_reason = "works";
  r.connections = 2;
  r.sandbox = {true, "adit", "none", true, "filtered", "Landlock 7"};
  r.uplinks.push_back({"t.example.com:443", "live", "quic", 12'500us, 65s, 2, 1000, 3,
                       {"https://a.t.example.com"}, "", 7s});
  r.uplinks.push_back({"u.example.com:443", "waiting", "", {}, {}, 0, 0, 0, {},
                       "refused: unknown_key", std::nullopt});
  r.services.push_back({"127.0.0.1:3000", {"{id}"}, false, true});
  r.services.push_back({"localhost:3001", {"api", "www"}, true, false,
                        "IPv4 and IPv6"});
  r.samples.push_back({"adit_agent_links_total", "", 3, true});
  return r;
}

TEST(AgentPages, Json) {
  EXPECT_EQ(agent_status_json(a_report()),
            R"({"version":"0.1.0","commit":"abc","started":"2023-11-14T22:13:20Z",)"
            R"("uptime_s":3723,"id":"aaaabbbb","io":{"backend":"io_uring","reason":"works"},)"
            R"("stopping":false,)"
            R"("sandbox":{"on":true,"user":"adit","capabilities":"none","no_new_privs":true,)"
            R"("system_calls":"filtered","files":"Landlock 7"},)"
            R"("connections":2,"relays":[{"relay":"t.example.com:443",)"
            R"("state":"live","carrier":"quic","rtt_ms":12.5,"live_s":65,"times_live":3,)"
            R"("streams":2,"retained_bytes":1000,"probed_s":7,"urls":["https://a.t.example.com"],)"
            R"("trouble":null},{"relay":"u.example.com:443","state":"waiting","carrier":null,)"
            R"("rtt_ms":null,"live_s":0,"times_live":0,"streams":0,"retained_bytes":0,)"
            R"("probed_s":null,"urls":[],)"
            R"("trouble":"refused: unknown_key"}],"services":[{"to":"127.0.0.1:3000",)"
            R"("names":["{id}"],"mode":"terminate","self_signed":true,"transparent":null},)"
            R"({"to":"localhost:3001",)"
            R"("names":["api","www"],"mode":"passthrough","self_signed":false,)"
            R"("transparent":"IPv4 and IPv6"}]})"
            "\n");
}

TEST(AgentPages, Text) {
  EXPECT_EQ(agent_status_text(a_report()),
            R"(adit 0.1.0 (abc), agent aaaabbbb, up 1 h 2 min, io_uring
sandbox   user adit, capabilities none, no_new_privs, system calls filtered, files Landlock 7

RELAY              STATE    CARRIER  RTT      FOR        STREAMS  PROBED   TROUBLE
t.example.com:443  live     quic     12.5 ms  1 min 5 s  2        7 s ago  -
u.example.com:443  waiting  -        -        -          0        -        refused: unknown_key

SERVICE         TLS                     SEES                                NAMES
127.0.0.1:3000  ends here, self-signed  this machine's address              {id}
localhost:3001  passed through          visitors' addresses, IPv4 and IPv6  api, www

https://a.t.example.com
)");
}

TEST(AgentPages, Metrics) {
  const std::string page = agent_metrics_page(a_report(), {1.5, 4096, 7, 1024});
  for (const char* line : {"adit_agent_links_total 3\n",
                           "adit_agent_relay_live{relay=\"t.example.com:443\"} 1\n",
                           "adit_agent_relay_live{relay=\"u.example.com:443\"} 0\n",
                           "adit_agent_relay_rtt_seconds{relay=\"t.example.com:443\"} 0.0125\n",
                           "adit_agent_connections 2\n", "process_open_fds 7\n",
                           "adit_build_info{version=\"0.1.0\",commit=\"abc\"} 1\n"})
    EXPECT_NE(page.find(line), page.npos) << line << page;
}

}  // namespace
}  // namespace adit::app
