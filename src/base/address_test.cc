#include "base/address.h"

#include <gtest/gtest.h>

namespace adit {
namespace {

TEST(Address, RoundTrips) {
  for (const char* text : {"192.0.2.1:443", "[2001:db8::1]:443", "[::1]:1", "0.0.0.0:65535"}) {
    auto a = Address::parse(text);
    ASSERT_TRUE(a) << a.error().what;
    EXPECT_EQ(a->text(), text);
  }
}

TEST(Address, PortAloneIsTheWildcard) {
  EXPECT_EQ(Address::parse(":443")->text(), "0.0.0.0:443");
  EXPECT_EQ(Address::parse("8443")->text(), "0.0.0.0:8443");
}

TEST(Address, SaysWhatIsWrong) {
  EXPECT_EQ(Address::parse("::1:443").error().what,
            "\"::1:443\": write an IPv6 address in brackets");
  EXPECT_EQ(Address::parse("1.2.3.4").error().what, "\"1.2.3.4\": the port is missing");
  EXPECT_EQ(Address::parse("1.2.3.4:70000").error().what, "\"70000\" is not a port (1 to 65535)");
  EXPECT_EQ(Address::parse("1.2.3:1").error().what, "\"1.2.3\" is not an IP address");
  EXPECT_FALSE(Address::parse(""));
  EXPECT_FALSE(Address::parse("[::1"));
  EXPECT_FALSE(Address::parse("[::1]443"));
}

TEST(HostPort, DefaultsAndNames) {
  EXPECT_EQ(*HostPort::parse("3000"), (HostPort{"127.0.0.1", 3000}));
  EXPECT_EQ(*HostPort::parse("t.example.com", 443), (HostPort{"t.example.com", 443}));
  EXPECT_EQ(*HostPort::parse("t.example.com:4433", 443), (HostPort{"t.example.com", 4433}));
  EXPECT_EQ(*HostPort::parse("[::1]", 443), (HostPort{"::1", 443}));
  EXPECT_EQ(HostPort({"::1", 443}).text(), "[::1]:443");
  EXPECT_FALSE(HostPort::parse("t.example.com"));
}

TEST(IpPrefix, Table) {
  const struct {
    const char *prefix, *inside, *outside;
  } rows[] = {
      {"10.0.0.0/8", "10.255.1.2", "11.0.0.0"},
      {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
      {"192.0.2.4/30", "192.0.2.7", "192.0.2.8"},
      {"0.0.0.0/0", "255.255.255.255", "2001:db8::1"},
      {"::/0", "192.0.2.1", nullptr},
      {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
      {"::ffff:10.0.0.0/8", "10.1.1.1", "9.255.255.255"},
  };
  for (const auto& row : rows) {
    auto p = IpPrefix::parse(row.prefix);
    ASSERT_TRUE(p) << row.prefix << " " << p.error().what;
    EXPECT_TRUE(p->contains(*IpAddress::parse(row.inside))) << row.prefix;
    if (row.outside != nullptr) {
      EXPECT_FALSE(p->contains(*IpAddress::parse(row.outside))) << row.prefix;
    }
    EXPECT_EQ(*IpPrefix::parse(p->text()), *p) << p->text();
  }
  EXPECT_EQ(IpPrefix::parse("10.1.0.0/8").error().what,
            "\"10.1.0.0/8\" has bits behind its prefix; its range is 10.0.0.0/8");
  for (const char* bad : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "::/129", "x/8", ""})
    EXPECT_FALSE(IpPrefix::parse(bad)) << bad;
}

TEST(IpAddress, MappedAndPlainIpv4AreOne) {
  EXPECT_EQ(*IpAddress::parse("::ffff:192.0.2.1"), *IpAddress::parse("192.0.2.1"));
  EXPECT_EQ(IpAddress::parse("::ffff:192.0.2.1")->text(), "192.0.2.1");
}

}  // namespace
}  // namespace adit
