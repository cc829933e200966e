#include "route/access.h"

#include <gtest/gtest.h>

namespace adit::route {
namespace {

const std::string kAlice = "aaaaaaaaaaaaaaaaaaaaaaaaa2";
const std::string kBob = "bbbbbbbbbbbbbbbbbbbbbbbbb3";
const std::string kCarol = "ccccccccccccccccccccccccc4";

std::string errors_of(std::string_view text) {
  std::string out;
  for (const LineError& error : parse_authorized_agents(text).errors) out += error.text() + "\n";
  return out;
}

TEST(AuthorizedAgents, VisitorsAddresses) {
  const std::string id(26, 'a');
  const auto parsed =
      parse_authorized_agents(id + " from=10.0.0.0/8,2001:db8::/32 not=10.6.6.6\n");
  ASSERT_TRUE(parsed.errors.empty()) << parsed.errors.front().text();
  const AgentGrant& grant = parsed.agents.front();
  const std::pair<const char*, bool> rows[] = {
      {"10.1.2.3", true},     {"10.6.6.6", false},   {"11.0.0.1", false},
      {"2001:db8::1", true},  {"2001:db9::1", false}};
  for (const auto& [address, admitted] : rows)
    EXPECT_EQ(grant.admits(*IpAddress::parse(address)), admitted) << address;
  EXPECT_EQ(format(grant), id + " from=10.0.0.0/8,2001:db8::/32 not=10.6.6.6/32");
  EXPECT_EQ(parse_authorized_agents(format(grant)).agents.front(), grant);
  EXPECT_TRUE(AgentGrant{}.admits(*IpAddress::parse("192.0.2.1")));
  const auto wrong = parse_authorized_agents(id + " from=10.1.0.0/8,x\n");
  ASSERT_EQ(wrong.errors.size(), 2u);
  EXPECT_EQ(wrong.errors[0].text(),
            "1:33: \"10.1.0.0/8\" has bits behind its prefix; its range is 10.0.0.0/8");
}

TEST(AuthorizedAgents, ReadsEveryKindOfLine) {
  const auto parsed = parse_authorized_agents(
      "# the agents of the test\n"
      "\n" +
      kAlice + "\n  " + kBob +
      " \tnames=Blog,b.Example.com.,*.c.example.com ports=2222,8000-8100 rate=10M streams=64"
      "   # bob's box\r\n" +
      kCarol + "#no blank before");
  EXPECT_TRUE(parsed.errors.empty());
  ASSERT_EQ(parsed.agents.size(), 3u);
  EXPECT_EQ(parsed.agents[0], (AgentGrant{kAlice, {}, {}, {}, {}}));
  EXPECT_EQ(parsed.agents[1], (AgentGrant{kBob,
                                          {"blog", "b.example.com", "*.c.example.com"},
                                          {{2222, 2222}, {8000, 8100}},
                                          64,
                                          10'000'000}));
  EXPECT_EQ(parsed.agents[2].id, kCarol);
}

TEST(AuthorizedAgents, NamesEveryFaultWithItsPlace) {
  EXPECT_EQ(errors_of(kAlice + " names=a,-b,,c names=x colour=red\n"
                      "short\n" +
                      kBob + " ports=0,70000,9-8,x\n" + kBob + " rate=0 streams=many streams=2\n" +
                      kAlice + "\n" + kAlice + " names\n" + kCarol + " names=\n" + kAlice +
                      "\n"),
            "1:36: \"-b\" is not a host name or *.NAME\n"
            "1:39: empty item in the list\n"
            "1:42: \"names\" is given twice\n"
            "1:50: unknown key \"colour\"; there are names, ports, rate, streams, flows, from, "
            "not\n"
            "2:1: \"short\" is not an agent's id (26 characters of a-z and 2-7, as `adit keys` "
            "prints it)\n"
            "3:34: \"0\" is not a port or a range, as in 8000-8100\n"
            "3:36: \"70000\" is not a port or a range, as in 8000-8100\n"
            "3:42: \"9-8\" is not a port or a range, as in 8000-8100\n"
            "3:46: \"x\" is not a port or a range, as in 8000-8100\n"
            "4:33: \"0\" is not a rate: bytes a second, as in 500K, 10M, 1G\n"
            "4:43: \"many\" is not a number of streams (1 to 100000)\n"
            "4:48: \"streams\" is given twice\n"
            "6:28: \"names\" is not KEY=VALUE\n"
            "7:34: empty item in the list\n"
            "8:1: the id is already on line 5\n");
}

TEST(AuthorizedAgents, KeepsTheLinesWithoutFaults) {
  const auto parsed = parse_authorized_agents("bad\n" + kAlice + "\nworse\n" + kBob + "\n");
  EXPECT_EQ(parsed.errors.size(), 2u);
  ASSERT_EQ(parsed.agents.size(), 2u);
  EXPECT_EQ(parsed.agents[1].id, kBob);
}

TEST(AuthorizedAgents, BoundsErrorsAndWhatTheyRepeat) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += std::string(1000, '\x1b') + "\n";
  const auto parsed = parse_authorized_agents(text);
  ASSERT_EQ(parsed.errors.size(), kErrorsMax);
  EXPECT_LT(parsed.errors[0].what.size(), 200u);
  EXPECT_EQ(parsed.errors[0].what.find('\x1b'), std::string::npos);
}

TEST(AuthorizedAgents, BoundsNamesAndPorts) {
  std::string names = kAlice + " names=a", ports = kBob + " ports=1";
  for (std::size_t i = 1; i < kGrantedNamesMax; ++i) names += ",a";
  for (std::size_t i = 1; i < kGrantedPortRangesMax; ++i) ports += ",1";
  EXPECT_EQ(errors_of(names + "\n" + ports), "");
  EXPECT_EQ(errors_of(names + ",a\n"), "1:2082: more than 1024 names\n");
  EXPECT_EQ(errors_of(ports + ",1\n"), "1:162: more than 64 port ranges\n");
}

TEST(AuthorizedAgents, FormatParsesBack) {
  const AgentGrant grants[] = {
      {kAlice, {}, {}, {}, {}},
      {kBob, {"blog", "*.c.example.com"}, {{1, 1}, {5, 9}}, 7, 1'500'000},
  };
  for (const AgentGrant& grant : grants) {
    const auto parsed = parse_authorized_agents(format(grant));
    ASSERT_EQ(parsed.agents.size(), 1u) << format(grant);
    EXPECT_EQ(parsed.agents[0], grant);
  }
}

TEST(Rate, CountsBytesASecond) {
  EXPECT_EQ(*parse_rate("1"), 1u);
  EXPECT_EQ(*parse_rate("500K"), 500'000u);
  EXPECT_EQ(*parse_rate("1G"), 1'000'000'000u);
  for (const char* bad : {"", "K", "0", "-1", "1k", "1.5M", "1MB", "99999999999G",
                          "18446744073709551616"})
    EXPECT_FALSE(parse_rate(bad)) << bad;
}

AgentAccess access(bool open = false) {
  auto parsed = parse_authorized_agents(
      kAlice + " ports=2222,8000-8100\n" + kBob +
      " names=blog,b.example.com,*.c.example.com,*.d.example.com\n");
  EXPECT_TRUE(parsed.errors.empty());
  return AgentAccess({"t.example.com", "u.example.net"}, open, std::move(parsed.agents));
}

std::string refusal(std::optional<Refusal> refusal) {
  return refusal ? std::string(code(*refusal)) : "ok";
}

TEST(AgentAccess, AdmitsListedKeysAndWithOpenAll) {
  EXPECT_EQ(refusal(access().check(kAlice)), "ok");
  EXPECT_EQ(refusal(access().check(kCarol)), "unknown_key");
  EXPECT_EQ(refusal(access(true).check(kCarol)), "ok");
  EXPECT_EQ(refusal(access(true).check("not an id")), "unknown_key");
}

TEST(AgentAccess, ResolvesNamesAsATable) {
  const std::string alice_own = kAlice + ".t.example.com " + kAlice + ".u.example.net";
  const struct {
    bool open;
    std::string key, wanted, answer;
  } rows[] = {
      {false, kAlice, "{id}", alice_own},
      {false, kAlice, kAlice, alice_own},
      {false, kAlice, kAlice + ".T.example.com", kAlice + ".t.example.com"},
      {false, kAlice, kBob + ".t.example.com", "name_not_granted"},
      {false, kAlice, "blog", "name_not_granted"},
      {false, kAlice, "t.example.com", "name_reserved"},
      {false, kAlice, "*.t.example.com", "name_not_granted"},
      {false, kAlice, "no name", "name_invalid"},
      {false, kAlice, "", "name_invalid"},
      {false, kAlice, std::string(63, 'a') + "..", "name_invalid"},
      {false, kBob, "blog", "blog.t.example.com blog.u.example.net"},
      {false, kBob, "Blog.u.example.net", "blog.u.example.net"},
      {false, kBob, "b.example.com", "b.example.com"},
      {false, kBob, "a.b.example.com", "name_not_granted"},
      {false, kBob, "*.b.example.com", "name_not_granted"},
      {false, kBob, "x.c.example.com", "x.c.example.com"},
      {false, kBob, "*.c.example.com", "*.c.example.com"},
      {false, kBob, "c.example.com", "name_not_granted"},
      {false, kBob, "x.y.c.example.com", "name_not_granted"},
      {false, kCarol, "{id}", "unknown_key"},
      {true, kCarol, "{id}", kCarol + ".t.example.com " + kCarol + ".u.example.net"},
      {true, kCarol, "blog", "name_not_granted"},
      {true, kCarol, kAlice, "name_not_granted"},
      {true, kBob, "b.example.com", "b.example.com"},
  };
  for (const auto& row : rows) {
    const auto names = access(row.open).resolve(row.key, row.wanted);
    std::string answer = names.refusal ? std::string(code(*names.refusal)) : "";
    for (const std::string& name : names.names) answer += (answer.empty() ? "" : " ") + name;
    EXPECT_EQ(answer, row.answer) << row.key << " asks for " << row.wanted;
  }
}

TEST(AgentAccess, GrantsPortsByRange) {
  const AgentAccess table = access(true);
  EXPECT_EQ(refusal(table.check_port(kAlice, 2222)), "ok");
  EXPECT_EQ(refusal(table.check_port(kAlice, 8000)), "ok");
  EXPECT_EQ(refusal(table.check_port(kAlice, 8100)), "ok");
  EXPECT_EQ(refusal(table.check_port(kAlice, 8101)), "port_not_granted");
  EXPECT_EQ(refusal(table.check_port(kBob, 2222)), "port_not_granted");
  EXPECT_EQ(refusal(table.check_port(kCarol, 2222)), "port_not_granted");
  EXPECT_EQ(refusal(access().check_port(kCarol, 2222)), "unknown_key");
  EXPECT_EQ(table.grant(kCarol), nullptr);
  EXPECT_EQ(table.size(), 2u);
}

TEST(AuthorizedAgents, FlowsAreLimitedBesidesStreams) {
  const auto parsed = parse_authorized_agents(std::string(kAlice) + " streams=3 flows=7\n");
  ASSERT_TRUE(parsed.errors.empty());
  EXPECT_EQ(parsed.agents[0].flows_max, 7u);
  EXPECT_EQ(parse_authorized_agents(format(parsed.agents[0])).agents[0], parsed.agents[0]);
  EXPECT_EQ(parse_authorized_agents(std::string(kAlice) + " flows=0\n").errors[0].what,
            "\"0\" is not a number of flows (1 to 100000)");
}

}  // namespace
}  // namespace adit::route
