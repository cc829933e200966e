#include "route/router.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace adit::route {
namespace {

// A relay with everything, and names that more than one rule could take.
RouterTable full_table() {
  RouterTable table;
  table.relay_names = {{"relay.test", {}}, {"both.test", {}}};
  const NameOwner alice{"alice", 1, {}, 0};
  for (const char* name : {"id.relay.test", "*.wild.test", "both.test", "agentroute.test"})
    table.agents.claim(name, alice);
  auto routes = StaticRoutes::build({
      {{"*.static.test"}, false},
      {{"exact.static.test", "plain.test", "agentroute.test", "routelease.test"}, false},
      {{}, true},
  });
  EXPECT_TRUE(routes);
  table.routes = std::move(*routes);
  table.leases = {{"lease.test", {21000}}, {"routelease.test", {21001}}};
  return table;
}

struct Hello {
  const char* sni;  // null: none
  std::vector<std::string_view> alpn;
};

// One row a hello: what it asks for, and where it goes over each transport.
std::string rows_of(const RouterTable& table, const std::vector<Hello>& hellos) {
  std::string out;
  for (const Hello& hello : hellos) {
    std::string ask = hello.sni == nullptr ? "-" : hello.sni;
    ask += " [";
    for (std::string_view protocol : hello.alpn) {
      if (!ask.ends_with('[')) ask += ' ';
      ask += protocol;
    }
    ask += "]";
    RouteQuery query;
    if (hello.sni != nullptr) query.sni = hello.sni;
    query.alpn = hello.alpn;
    query.local_port = 443;
    const std::string tcp = describe(decide(table, query));
    query.transport = Transport::Udp;
    const std::string udp = describe(decide(table, query));
    ask.resize(std::max<std::size_t>(ask.size() + 1, 34), ' ');
    out += ask + "| " + tcp + "\n";
    if (udp != tcp) out += std::string(29, ' ') + "quic | " + udp + "\n";
  }
  return out;
}

// The second line of a row is the answer over QUIC where it differs.
constexpr const char* kGolden = R"(
relay.test [h2 http/1.1]          | relay name=relay.test
RELAY.Test. [h2]                  | relay name=relay.test
relay.test []                     | relay name=relay.test
relay.test [adit-h2/1]            | link carrier=h2
                             quic | relay name=relay.test
relay.test [adit/1]               | relay name=relay.test
                             quic | link carrier=quic
- [adit-h2/1]                     | link carrier=h2
                             quic | none reason=tcp_only
- [adit/1]                        | route index=2
                             quic | link carrier=quic
id.relay.test [h2 adit-h2/1]      | link carrier=h2
                             quic | agent name=id.relay.test key=id.relay.test
both.test [h2]                    | relay name=both.test
id.relay.test [h2]                | agent name=id.relay.test key=id.relay.test
ID.relay.test [h3]                | agent name=id.relay.test key=id.relay.test
a.wild.test []                    | agent name=a.wild.test key=*.wild.test
wild.test []                      | none reason=unknown_name
b.a.wild.test []                  | none reason=unknown_name
agentroute.test []                | agent name=agentroute.test key=agentroute.test
plain.test []                     | route index=1
                             quic | none reason=tcp_only
exact.static.test []              | route index=1
                             quic | none reason=tcp_only
other.static.test []              | route index=0
                             quic | none reason=tcp_only
routelease.test []                | route index=1
                             quic | none reason=tcp_only
lease.test []                     | lease name=lease.test port=21000
                             quic | none reason=tcp_only
unknown.test []                   | none reason=unknown_name
other.relay.test []               | none reason=unknown_name
- []                              | route index=2
                             quic | none reason=tcp_only
 []                               | none reason=unknown_name
192.0.2.1 []                      | none reason=unknown_name
not a name []                     | none reason=unknown_name
*.wild.test []                    | none reason=unknown_name
relay.test [acme-tls/1]           | challenge owner=relay name=relay.test
                             quic | relay name=relay.test
id.relay.test [acme-tls/1]        | challenge owner=agent name=id.relay.test key=id.relay.test
                             quic | agent name=id.relay.test key=id.relay.test
a.wild.test [acme-tls/1]          | challenge owner=agent name=a.wild.test key=*.wild.test
                             quic | agent name=a.wild.test key=*.wild.test
plain.test [acme-tls/1]           | route index=1
                             quic | none reason=tcp_only
lease.test [acme-tls/1]           | challenge owner=relay name=lease.test
                             quic | none reason=tcp_only
unknown.test [acme-tls/1]         | none reason=unknown_name
- [acme-tls/1]                    | none reason=no_sni
                             quic | none reason=tcp_only
id.relay.test [acme-tls/1 h2]     | agent name=id.relay.test key=id.relay.test
relay.test [acme-tls/1 adit-h2/1] | link carrier=h2
                             quic | relay name=relay.test
)";

TEST(Router, DecidesAsTheGoldenTableSays) {
  const std::vector<Hello> hellos = {
      {"relay.test", {"h2", "http/1.1"}},
      {"RELAY.Test.", {"h2"}},
      {"relay.test", {}},
      {"relay.test", {kAlpnH2Link}},
      {"relay.test", {kAlpnQuicLink}},
      {nullptr, {kAlpnH2Link}},
      {nullptr, {kAlpnQuicLink}},
      {"id.relay.test", {"h2", kAlpnH2Link}},
      {"both.test", {"h2"}},
      {"id.relay.test", {"h2"}},
      {"ID.relay.test", {"h3"}},
      {"a.wild.test", {}},
      {"wild.test", {}},
      {"b.a.wild.test", {}},
      {"agentroute.test", {}},
      {"plain.test", {}},
      {"exact.static.test", {}},
      {"other.static.test", {}},
      {"routelease.test", {}},
      {"lease.test", {}},
      {"unknown.test", {}},
      {"other.relay.test", {}},
      {nullptr, {}},
      {"", {}},
      {"192.0.2.1", {}},
      {"not a name", {}},
      {"*.wild.test", {}},
      {"relay.test", {kAlpnAcme}},
      {"id.relay.test", {kAlpnAcme}},
      {"a.wild.test", {kAlpnAcme}},
      {"plain.test", {kAlpnAcme}},
      {"lease.test", {kAlpnAcme}},
      {"unknown.test", {kAlpnAcme}},
      {nullptr, {kAlpnAcme}},
      {"id.relay.test", {kAlpnAcme, "h2"}},
      {"relay.test", {kAlpnAcme, kAlpnH2Link}},
  };
  EXPECT_EQ("\n" + rows_of(full_table(), hellos), kGolden);
}

TEST(Router, WithoutADefaultRouteNoSniIsNoMatch) {
  RouterTable table;
  RouteQuery query;
  EXPECT_EQ(decide(table, query), Destination(NoMatch{NoMatchReason::NoSni}));
  query.transport = Transport::Udp;
  EXPECT_EQ(decide(table, query), Destination(NoMatch{NoMatchReason::NoSni}));
}

TEST(Router, PortAndSourceDecideNothing) {
  const RouterTable table = full_table();
  RouteQuery query;
  query.sni = "a.wild.test";
  const Destination before = decide(table, query);
  query.local_port = 8443;
  query.source = IpAddress::loopback4();
  EXPECT_EQ(decide(table, query), before);
}

TEST(Router, StaticRoutesWithAnUpstreamOfUdpTakeQuic) {
  RouterTable table;
  table.routes = *StaticRoutes::build({{{"tcp.test"}, false}, {{"both.test"}, true, true}});
  EXPECT_TRUE(table.routes.any_udp());
  RouteQuery query;
  query.transport = Transport::Udp;
  EXPECT_EQ(decide(table, query), Destination(StaticRoute{1}));
  query.sni = "both.test";
  EXPECT_EQ(decide(table, query), Destination(StaticRoute{1}));
  query.sni = "tcp.test";
  EXPECT_EQ(decide(table, query), Destination(NoMatch{NoMatchReason::TcpOnly}));
}

TEST(Router, EntriesOfPortsAreNoNames) {
  EXPECT_EQ(port_entry(Transport::Tcp, 5000), "tcp/5000");
  EXPECT_EQ(port_entry(Transport::Udp, 53), "udp/53");
  EXPECT_TRUE(is_port_entry("tcp/5000"));
  EXPECT_FALSE(is_port_entry("*.example.com"));
  EXPECT_FALSE(parse_pattern("tcp/5000"));
}

TEST(StaticRoutes, RefusesWhatIsAmbiguous) {
  EXPECT_EQ(StaticRoutes::build({{{"a.test"}, false}, {{"a.test"}, false}}).error().what,
            "two routes for \"a.test\"");
  EXPECT_EQ(StaticRoutes::build({{{}, true}, {{}, true}}).error().what, "two default routes");
  EXPECT_TRUE(StaticRoutes::build({{{"a.test", "a.test"}, true}}));
}

}  // namespace
}  // namespace adit::route
