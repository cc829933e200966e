#include "route/egress.h"

#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <vector>

namespace adit::route {
namespace {

EgressRule rule(std::string_view text) {
  auto parsed = parse_egress_rule(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : EgressRule{};
}

EgressPolicy policy(std::vector<const char*> deny = {}, std::vector<const char*> allow = {},
                    bool only = false, OwnPlaces own = {}) {
  EgressLists lists;
  for (const char* text : deny) lists.deny.push_back(rule(text));
  for (const char* text : allow) lists.allow.push_back(rule(text));
  lists.only_allowed = only;
  return EgressPolicy(std::move(lists), std::move(own));
}

// What becomes of a host as written: "ok ADDRESS", "name NAME", the refusal's code, or "bad".
std::string verdict(const EgressPolicy& rules, std::string_view text, std::uint16_t port = 80) {
  const auto host = parse_egress_host(text);
  if (!host) return "bad";
  if (const auto refusal = rules.check_name(*host, port)) return std::string(code(*refusal));
  if (!host->ip) return "name " + host->name;
  const auto refusal = rules.check(*host, Address{*host->ip, port});
  return refusal ? std::string(code(*refusal)) : "ok " + host->ip->text();
}

// Whether the C library takes the text for an address, which it would then connect to.
bool library_reads_address(const std::string& text) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(text.c_str(), nullptr, &hints, &found) != 0) return false;
  freeaddrinfo(found);
  return true;
}

struct Spelling {
  std::string host, verdict;
};

// The ways to write what is closed. None may come out as "ok" or reach a resolver as a name.
const std::vector<Spelling>& closed_spellings() {
  using namespace std::string_literals;
  static const std::vector<Spelling> rows = {
      {"127.0.0.1", "loopback"},
      {"127.0.0.1.", "loopback"},
      {"127.255.255.254", "loopback"},
      {"127.1", "loopback"},
      {"127.1.", "loopback"},
      {"127.0.1", "loopback"},
      {"2130706433", "loopback"},
      {"2130706433.", "loopback"},
      {"0x7f000001", "loopback"},
      {"0X7F000001", "loopback"},
      {"0x7f.1", "loopback"},
      {"0x7F.0x0.0x0.0x1", "loopback"},
      {"0177.0.0.1", "loopback"},
      {"0177.0.0.01", "loopback"},
      {"0000177.0.0.1", "loopback"},
      {"017700000001", "loopback"},
      {"0x0000000000000000007f.0.0.1", "loopback"},
      {"127.0x1", "loopback"},
      {"0x7f.0.0.0001", "loopback"},
      {"::1", "loopback"},
      {"[::1]", "loopback"},
      {"0:0:0:0:0:0:0:1", "loopback"},
      {"0000::0001", "loopback"},
      {"::ffff:127.0.0.1", "loopback"},
      {"::FFFF:7f00:1", "loopback"},
      {"[::ffff:127.0.0.1]", "loopback"},
      {"0:0:0:0:0:ffff:7f00:0001", "loopback"},
      {"::127.0.0.1", "transition"},
      {"::7f00:1", "transition"},
      {"::ffff:0:127.0.0.1", "reserved"},
      {"64:ff9b::127.0.0.1", "loopback"},
      {"64:ff9b::7f00:1", "loopback"},
      {"64:ff9b::a9fe:a9fe", "metadata"},
      {"64:ff9b::10.0.0.1", "private"},
      {"64:ff9b:1::7f00:1", "transition"},
      {"2002:7f00:1::", "transition"},
      {"2002:a00:1::1", "transition"},
      {"2001:0:102:304::80ff:fffe", "transition"},
      {"2a00:1450::5efe:127.0.0.1", "loopback"},
      {"2a00:1450::200:5efe:c0a8:101", "private"},
      {"0", "unspecified"},
      {"0.0.0.0", "unspecified"},
      {"0x0", "unspecified"},
      {"00", "unspecified"},
      {"0.1.2.3", "unspecified"},
      {"::", "unspecified"},
      {"[::]", "unspecified"},
      {"10.0.0.1", "private"},
      {"10.1", "private"},
      {"012.0.0.1", "private"},
      {"167772161", "private"},
      {"172.16.0.1", "private"},
      {"172.31.255.255", "private"},
      {"192.168.1", "private"},
      {"0300.0250.1.1", "private"},
      {"fc00::1", "private"},
      {"fdff:ffff::1", "private"},
      {"fec0::1", "private"},
      {"100.64.0.1", "shared"},
      {"100.127.255.255", "shared"},
      {"169.254.1.1", "link_local"},
      {"fe80::1", "link_local"},
      {"febf::1", "link_local"},
      {"fe80::1%eth0", "bad"},
      {"fe80::1%251", "bad"},
      {"::1%lo", "bad"},
      {"[::1%25lo]", "bad"},
      {"169.254.169.254", "metadata"},
      {"0xa9fea9fe", "metadata"},
      {"2852039166", "metadata"},
      {"0251.0376.0251.0376", "metadata"},
      {"169.254.43518", "metadata"},
      {"::ffff:a9fe:a9fe", "metadata"},
      {"fd00:ec2::254", "metadata"},
      {"fd20:ce::254", "metadata"},
      {"100.100.100.200", "metadata"},
      {"192.0.0.192", "metadata"},
      {"168.63.129.16", "metadata"},
      {"224.0.0.1", "multicast"},
      {"239.255.255.250", "multicast"},
      {"ff02::1", "multicast"},
      {"255.255.255.255", "broadcast"},
      {"0xffffffff", "broadcast"},
      {"4294967295", "broadcast"},
      {"240.0.0.1", "reserved"},
      {"192.0.0.1", "reserved"},
      {"192.0.2.1", "documentation"},
      {"198.51.100.7", "documentation"},
      {"203.0.113.9", "documentation"},
      {"2001:db8::1", "documentation"},
      {"3fff::1", "documentation"},
      {"198.18.0.1", "benchmark"},
      {"2001:2::1", "benchmark"},
      {"192.88.99.1", "transition"},
      {"100::1", "reserved"},
      {"5f00::1", "reserved"},
      {"4000::1", "reserved"},
      // Refused before anybody else may read them.
      {"", "bad"},
      {".", "bad"},
      {"..", "bad"},
      {"127.0.0.1..", "bad"},
      {"127..1", "bad"},
      {".127.0.0.1", "bad"},
      {"127.0.0.1.1", "bad"},
      {"127.0.0.256", "bad"},
      {"256.0.0.1", "bad"},
      {"127.16777216", "bad"},
      {"4294967296", "bad"},
      {"18446744073839258113", "bad"},  // 2^64 + 127.0.0.1
      {"08.0.0.1", "bad"},
      {"0x", "bad"},
      {"127.0.0.0x", "bad"},
      {"1.2.3.0xg", "name 1.2.3.0xg"},
      {" 127.0.0.1", "bad"},
      {"127.0.0.1 ", "bad"},
      {"127.0.0.1\t", "bad"},
      {"127.0.0.1\n", "bad"},
      {"127.0.0.1\0.example.com"s, "bad"},
      {"::1\0"s, "bad"},
      {"127.0.0.1:80", "bad"},
      {"[::1]:80", "bad"},
      {"[::1", "bad"},
      {"::1]", "bad"},
      {"[[::1]]", "bad"},
      {"[127.0.0.1]", "bad"},
      {"[localhost]", "bad"},
      {"::1.", "bad"},
      {"::ffff:0177.0.0.1", "bad"},
      {"::ffff:127.1", "bad"},
      {":::1", "bad"},
      {"127.0.0.1/8", "bad"},
      {"user@127.0.0.1", "bad"},
      {"127.0.0.1#x", "bad"},
      {"127%2e0%2e0%2e1", "bad"},
      {"%31%32%37.0.0.1", "bad"},
      {"-1", "bad"},
      {"+2130706433", "bad"},
      {"127.0.0.-1", "bad"},
      {"１２７.０.０.１", "bad"},          // full-width digits
      {"127。0。0。1", "bad"},             // ideographic full stops
      {"①②⑦.⓪.⓪.①", "bad"},
      {"ｌｏｃａｌｈｏｓｔ", "bad"},
      {"١٢٧.0.0.1", "bad"},               // Arabic-Indic digits
      {std::string(300, '1'), "bad"},
  };
  return rows;
}

TEST(Egress, NoSpellingOfAClosedAddressPasses) {
  const EgressPolicy rules = policy();
  ASSERT_GE(closed_spellings().size(), 40u);
  for (const Spelling& row : closed_spellings()) {
    EXPECT_EQ(verdict(rules, row.host), row.verdict) << row.host;
    EXPECT_FALSE(row.verdict.starts_with("name") && library_reads_address(row.host)) << row.host;
  }
}

TEST(Egress, OrdinaryAddressesAndNamesPass) {
  const Spelling rows[] = {
      {"8.8.8.8", "ok 8.8.8.8"},
      {"134744072", "ok 8.8.8.8"},
      {"0x8.8.0x808", "ok 8.8.8.8"},
      {"9.255.255.255", "ok 9.255.255.255"},
      {"11.0.0.0", "ok 11.0.0.0"},
      {"100.63.255.255", "ok 100.63.255.255"},
      {"100.128.0.0", "ok 100.128.0.0"},
      {"126.255.255.255", "ok 126.255.255.255"},
      {"128.0.0.1", "ok 128.0.0.1"},
      {"169.253.0.1", "ok 169.253.0.1"},
      {"172.15.255.255", "ok 172.15.255.255"},
      {"172.32.0.0", "ok 172.32.0.0"},
      {"192.167.255.255", "ok 192.167.255.255"},
      {"198.17.255.255", "ok 198.17.255.255"},
      {"198.20.0.0", "ok 198.20.0.0"},
      {"223.255.255.255", "ok 223.255.255.255"},
      {"::ffff:8.8.8.8", "ok 8.8.8.8"},
      {"2606:4700::1111", "ok 2606:4700::1111"},
      {"[2606:4700::1111]", "ok 2606:4700::1111"},
      {"64:ff9b::8.8.8.8", "ok 64:ff9b::808:808"},
      {"2a00:1450::5efe:8.8.8.8", "ok 2a00:1450::5efe:808:808"},
      {"example.com", "name example.com"},
      {"Example.COM.", "name example.com"},
      {"xn--bcher-kva.example", "name xn--bcher-kva.example"},
      {"a_b.example", "name a_b.example"},
      {"1e3", "name 1e3"},
      {"0xg", "name 0xg"},
      {"localhost", "name localhost"},  // what it resolves to decides
  };
  for (const Spelling& row : rows) EXPECT_EQ(verdict(policy(), row.host), row.verdict) << row.host;
}

TEST(Egress, WhatTheLibraryReadsAsAnAddressIsNeverAName) {
  // Four parts out of these, in all forms; the C library is the judge.
  const std::vector<std::string> parts = {"",     "0",   "1",    "127",  "255", "256", "0177",
                                          "0x7f", "08",  "0x",   "1a",   "00",  "+1",  "4294967295",
                                          "0X7F", "300", "0x1g", "65536"};
  std::size_t addresses = 0;
  const auto judge = [&](const std::string& text) {
    const auto host = parse_egress_host(text);
    if (!library_reads_address(text)) return;
    ++addresses;
    EXPECT_TRUE(!host || host->ip) << text;
  };
  for (const std::string& a : parts) {
    judge(a);
    for (const std::string& b : parts) {
      judge(a + "." + b);
      for (const std::string& c : parts) {
        judge(a + "." + b + "." + c);
        for (const char* d : {"", "1", "0x1", "01", "256", "x"})
          judge(a + "." + b + "." + c + "." + d);
      }
    }
  }
  EXPECT_GT(addresses, 1000u);
}

TEST(Egress, WhatANameResolvesToDecides) {
  const EgressPolicy rules = policy();
  const EgressHost host = *parse_egress_host("rebind.example");
  const auto at = [](const char* ip) { return Address{*IpAddress::parse(ip), 80}; };
  const auto mixed = rules.select(host, {at("127.0.0.1"), at("8.8.8.8"), at("::1")});
  EXPECT_EQ(mixed.allowed, std::vector<Address>{at("8.8.8.8")});
  EXPECT_FALSE(mixed.refusal);
  const auto none = rules.select(host, {at("10.0.0.1"), at("64:ff9b::7f00:1")});
  EXPECT_TRUE(none.allowed.empty());
  ASSERT_TRUE(none.refusal);
  EXPECT_EQ(none.refusal->text, "10.0.0.1:80 (rebind.example) is private");
  const auto inner = rules.check(host, at("64:ff9b::7f00:1"));
  ASSERT_TRUE(inner);
  EXPECT_EQ(inner->text,
            "[64:ff9b::7f00:1]:80 (rebind.example) carries 127.0.0.1, which is loopback");
  EXPECT_EQ(verdict(rules, "8.8.8.8", 0), "port");
}

TEST(Egress, ListsAsATable) {
  const auto out = [](std::vector<const char*> deny, std::vector<const char*> allow, bool only,
                      const char* host, const char* ip, std::uint16_t port) {
    const auto refusal = policy(deny, allow, only)
                             .check(*parse_egress_host(host), Address{*IpAddress::parse(ip), port});
    return refusal ? std::string(code(*refusal)) : std::string("ok");
  };
  // A prefix opens, with its ports only; a name does not.
  EXPECT_EQ(out({}, {"127.0.0.0/8:8000-8100"}, false, "127.0.0.1", "127.0.0.1", 8000), "ok");
  EXPECT_EQ(out({}, {"127.0.0.0/8:8000-8100"}, false, "127.0.0.1", "127.0.0.1", 80), "loopback");
  EXPECT_EQ(out({}, {"db.example"}, false, "db.example", "10.0.0.1", 80), "private");
  EXPECT_EQ(out({}, {"*"}, false, "db.example", "10.0.0.1", 80), "private");
  EXPECT_EQ(out({}, {"::1"}, false, "::1", "::1", 80), "ok");
  EXPECT_EQ(out({}, {"::/0"}, false, "::1", "::1", 80), "ok");
  EXPECT_EQ(out({}, {"::/0"}, false, "127.0.0.1", "127.0.0.1", 80), "loopback");
  EXPECT_EQ(out({}, {"127.0.0.1"}, false, "a.example", "64:ff9b::7f00:1", 80), "ok");
  EXPECT_EQ(out({}, {"2002::/16"}, false, "a.example", "2002:7f00:1::", 80), "loopback");
  // Denying wins, by name at any depth, by port, and inside other addresses.
  EXPECT_EQ(out({"10.0.0.1"}, {"10.0.0.0/8"}, false, "10.0.0.1", "10.0.0.1", 80), "denied");
  EXPECT_EQ(out({"10.0.0.1"}, {"10.0.0.0/8"}, false, "10.0.0.2", "10.0.0.2", 80), "ok");
  EXPECT_EQ(out({"*.evil.example"}, {}, false, "a.b.evil.example", "8.8.8.8", 80), "denied");
  EXPECT_EQ(out({"*.evil.example"}, {}, false, "evil.example", "8.8.8.8", 80), "ok");
  EXPECT_EQ(out({"*.evil.example"}, {}, false, "notevil.example", "8.8.8.8", 80), "ok");
  EXPECT_EQ(out({"*:25"}, {}, false, "mail.example", "8.8.8.8", 25), "denied");
  EXPECT_EQ(out({"*:25"}, {}, false, "8.8.8.8", "8.8.8.8", 25), "denied");
  EXPECT_EQ(out({"*:25"}, {}, false, "mail.example", "8.8.8.8", 26), "ok");
  EXPECT_EQ(out({"8.8.8.0/24"}, {}, false, "a.example", "64:ff9b::808:808", 80), "denied");
  // Only what is allowed, by either.
  EXPECT_EQ(out({}, {"*.good.example:443"}, true, "a.good.example", "8.8.8.8", 443), "ok");
  EXPECT_EQ(out({}, {"*.good.example:443"}, true, "a.good.example", "8.8.8.8", 80), "not_allowed");
  EXPECT_EQ(out({}, {"*.good.example:443"}, true, "a.good.example", "10.0.0.1", 443), "private");
  EXPECT_EQ(out({}, {"8.8.8.0/24"}, true, "any.example", "8.8.8.8", 80), "ok");
  EXPECT_EQ(out({}, {"8.8.8.0/24"}, true, "8.8.4.4", "8.8.4.4", 80), "not_allowed");
  EXPECT_EQ(out({}, {}, true, "8.8.4.4", "8.8.4.4", 80), "not_allowed");
  EXPECT_EQ(verdict(policy({"bad.example:80"}), "bad.example."), "denied");
}

TEST(Egress, TheNodeItself) {
  const OwnPlaces own{{*IpAddress::parse("8.8.4.4"), *IpAddress::parse("2606:4700::1")}, {8080}};
  const EgressPolicy plain = policy({}, {}, false, own);
  EXPECT_EQ(verdict(plain, "8.8.4.4"), "own");
  EXPECT_EQ(verdict(plain, "2606:4700::1"), "own");
  EXPECT_EQ(verdict(plain, "64:ff9b::8.8.4.4"), "own");
  EXPECT_EQ(verdict(plain, "8.8.8.8", 8080), "ok 8.8.8.8");
  // Opened, but for where the node listens.
  const EgressPolicy open = policy({}, {"8.8.4.4", "127.0.0.0/8", "0.0.0.0/8"}, false, own);
  EXPECT_EQ(verdict(open, "8.8.4.4"), "ok 8.8.4.4");
  EXPECT_EQ(verdict(open, "127.0.0.1"), "ok 127.0.0.1");
  for (const char* host : {"8.8.4.4", "127.0.0.1", "127.5.5.5", "0", "::ffff:127.0.0.1"})
    EXPECT_EQ(verdict(open, host, 8080), "own") << host;
}

TEST(EgressRule, ReadsAndWritesItself) {
  const Spelling good[] = {
      {"10.0.0.0/8", "10.0.0.0/8"},     {"10.1.2.3", "10.1.2.3/32"},
      {"10.0.0.0/8:443", "10.0.0.0/8:443"}, {"2001:db8::/32", "2001:db8::/32"},
      {"[2001:db8::/32]:443", "[2001:db8::/32]:443"}, {"[::1]", "::1/128"},
      {"*", "*"},                       {"*:25", "*:25"},
      {"Example.com.", "example.com"},  {"*.Example.com:80-90", "*.example.com:80-90"},
  };
  for (const Spelling& row : good) {
    const auto parsed = parse_egress_rule(row.host);
    ASSERT_TRUE(parsed) << row.host;
    EXPECT_EQ(parsed->text(), row.verdict);
    EXPECT_EQ(*parse_egress_rule(parsed->text()), *parsed);
  }
  for (const char* bad : {"", "10.0.0.1/8", "127.1", "0x7f000001", "2130706433", "a b", "*.", "a*b",
                          "10.0.0.0/33", "example.com:0", "example.com:", ":80", "[::1", "[::1]x",
                          "[a]:80", "10.0.0.0/8:9-8", "a:b:c"})
    EXPECT_FALSE(parse_egress_rule(bad)) << bad;
}

}  // namespace
}  // namespace adit::route
