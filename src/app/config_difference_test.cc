#include "app/config_difference.h"

#include <gtest/gtest.h>

namespace adit::app {
namespace {

using Line = ConfigDifference::Line;

RelayConfig config() {
  RelayConfig c;
  c.domains = {"t.test"};
  c.state_dir = "/s";
  c.routes = {{{"a.test"}, {HostPort{"10.0.0.1", 443}}, false}};
  return c;
}

TEST(ConfigDifference, NothingIsSaid) {
  EXPECT_TRUE(difference(config(), config()).lines.empty());
  EXPECT_EQ(difference(config(), config()).text(), "nothing differs from what runs\n");
}

TEST(ConfigDifference, EveryKindOfKey) {
  RelayConfig after = config();
  after.domains.push_back("u.test");
  after.open = true;
  after.limits.drain = 5s;
  after.threads = 4;
  after.certificate = "/c.pem";
  after.listen = {{Address{IpAddress::any4(), 8443}, true, false}};
  const ConfigDifference d = difference(config(), after);
  EXPECT_EQ(d.lines,
            (std::vector<Line>{{"+ domain: \"u.test\"", false},
                               {"+ listen: \"0.0.0.0:8443/tcp\"", true},
                               {"- listen: \"[::]:443\"", true},
                               {"certificate: none -> \"/c.pem\"", true},
                               {"open: false -> true", false},
                               {"threads: 0 -> 4", true},
                               {"limits.drain_ms: 30000 -> 5000", false}}));
  EXPECT_TRUE(d.needs_restart());
  EXPECT_NE(d.text().find("threads: 0 -> 4   (takes a restart)\n"), std::string::npos);
}

TEST(ConfigDifference, Routes) {
  RelayConfig after = config();
  after.routes.push_back({{"b.test"}, {HostPort{"10.0.0.2", 443}}, true});
  after.routes.erase(after.routes.begin());
  const ConfigDifference d = difference(config(), after);
  ASSERT_EQ(d.lines.size(), 2u);
  EXPECT_TRUE(d.lines[0].what.starts_with("+ route: ")) << d.lines[0].what;
  EXPECT_NE(d.lines[0].what.find("b.test"), std::string::npos);
  EXPECT_TRUE(d.lines[1].what.starts_with("- route: "));
  EXPECT_FALSE(d.needs_restart());
}

TEST(ConfigDifference, Agents) {
  const std::string a(26, 'a'), b(26, 'b'), c(26, 'c');
  ConfigDifference d;
  add_difference(d, {{a, {}, {}, {}, {}}, {b, {}, {}, {}, {}}},
                 {{c, {"x"}, {}, {}, {}}, {b, {"y"}, {}, {}, {}}});
  EXPECT_EQ(d.lines, (std::vector<Line>{{"+ agent " + c + " names=x", false},
                                        {"agent " + b + " -> " + b + " names=y", false},
                                        {"- agent " + a, false}}));
}

}  // namespace
}  // namespace adit::app
