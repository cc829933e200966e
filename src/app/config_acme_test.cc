#include <gtest/gtest.h>

#include "app/acme_settings.h"
#include "app/config.h"

namespace adit::app {
namespace {

const Environment kHome{{{"HOME", "/home/u"}}, false};

template <class Config>
std::string faults(const Loaded<Config>& loaded) {
  std::string out;
  for (const ConfigError& e : loaded.errors) out += e.text() + "\n";
  return out;
}

Loaded<RelayConfig> relay(const std::string& text) {
  return parse_relay_config("domain = \"t.test\"\n" + text, {"r.toml", {}}, kHome);
}
Loaded<AgentConfig> agent(const std::string& text) {
  return parse_agent_config("relay = \"r.test\"\nservice = \"3000\"\n" + text, {"a.toml", {}},
                            kHome);
}

TEST(AcmeKeys, EveryKeyIsReadAndPrinted) {
  const auto loaded = relay(
      "[acme]\ndomain = [\"T.test\", \"*.t.test\"]\nemail = \"me@t.test\"\nrenew_days = 20\n"
      "creds_path = \"/c.json\"\ndirectory = \"https://ca.test/dir\"\nca = \"/ca.pem\"\n"
      "eab_kid = \"kid\"\neab_key_file = \"/k\"\nchallenge = \"dns-01\"\ndns_hook = \"/hook\"\n");
  ASSERT_EQ(faults(loaded), "");
  AcmeConfig want;
  want.domains = {"t.test", "*.t.test"};
  want.email = "me@t.test";
  want.renew_days = 20;
  want.creds_path = "/c.json";
  want.directory = "https://ca.test/dir";
  want.ca = "/ca.pem";
  want.eab_kid = "kid";
  want.eab_key_file = "/k";
  want.challenge = AcmeChallengeWord::Dns;
  want.dns_hook = "/hook";
  EXPECT_TRUE(loaded.config.acme == want);
  for (const PrintMode mode : {PrintMode::Effective, PrintMode::Changed}) {
    const auto again = parse_relay_config(print(loaded.config, mode, kHome), {"r.toml", {}}, kHome);
    EXPECT_EQ(faults(again), "");
    EXPECT_TRUE(again.config == loaded.config);
  }
  const auto http =
      agent("[acme]\nstaging = true\nchallenge = \"http-01\"\nhttp_listen = \":8080\"\n");
  ASSERT_EQ(faults(http), "");
  EXPECT_TRUE(http.config.acme.staging);
  EXPECT_EQ(http.config.acme.http_listen->port, 8080);
}

TEST(AcmeKeys, WithoutThemNothingIsAsked) {
  EXPECT_TRUE(relay("").config.acme == AcmeConfig{});
  EXPECT_TRUE(agent("").config.acme == AcmeConfig{});
  EXPECT_FALSE(agent("[acme]\nemail = \"me@t.test\"\n").config.acme == AcmeConfig{});
}

TEST(AcmeKeys, FaultsAsATable) {
  struct Row {
    const char* text;
    const char* fault;
  };
  const Row rows[] = {
      {"[acme]\nemail = \"me@t.test\"\n", "there is no name to get a certificate for"},
      {"[acme]\ndomain = \"u.test\"\n", "\"u.test\" is no name of the relay"},
      {"[acme]\ndomain = \"*.t.test\"\n", "a wildcard needs the challenge dns-01"},
      {"certificate = \"c\"\nkey = \"k\"\n[acme]\ndomain = \"t.test\"\n",
       "there is a certificate in files already"},
      {"[acme]\ndomain = \"t.test\"\ndirectory = \"http://ca.test/\"\n", "is not an https URL"},
      {"[acme]\ndomain = \"t.test\"\ndirectory = \"https://ca.test/\"\nstaging = true\n",
       "there is another ACME server in directory"},
      {"[acme]\ndomain = \"t.test\"\neab_kid = \"x\"\n", "belong together"},
      {"[acme]\ndomain = \"t.test\"\nchallenge = \"dns-01\"\n", "needs a program"},
      {"[acme]\ndomain = \"t.test\"\ndns_hook = \"/x\"\n", "for the challenge dns-01 only"},
      {"[acme]\ndomain = \"t.test\"\nhttp_listen = \":80\"\n", "for the challenge http-01 only"},
      {"[acme]\ndomain = \"t.test\"\nrenew_days = -1\n", "acme.renew_days"},
  };
  for (const Row& row : rows) {
    const std::string got = faults(relay(row.text));
    EXPECT_NE(got.find(row.fault), got.npos) << row.text << got;
  }
}

TEST(SecondaryKeys, AreReadPrintedAndChecked) {
  const auto loaded = agent(
      "primary_cert_extension_hex = \"DEADbeef\"\nsecondary_key = \"/s2.key\"\n"
      "secondary_local = \"10.0.0.1:80\"\nsecondary_cert_extension_hex = \"00\"\n");
  ASSERT_EQ(faults(loaded), "");
  EXPECT_EQ(loaded.config.secondary_local, (HostPort{"10.0.0.1", 80}));
  const auto again = parse_agent_config(print(loaded.config, PrintMode::Changed, kHome),
                                        {"a.toml", {}}, kHome);
  EXPECT_EQ(faults(again), "");
  EXPECT_TRUE(again.config == loaded.config);
  const std::pair<const char*, const char*> rows[] = {
      {"primary_cert_extension_hex = \"xyz\"\n", "it is not hex"},
      {"secondary_local = \"80\"\n", "there is no second endpoint"},
      {"secondary_cert_extension_hex = \"00\"\n", "there is no second endpoint"},
      {"key = \"/k\"\nsecondary_key = \"/k\"\n", "the key of the first endpoint"},
  };
  for (const auto& [text, fault] : rows) {
    const std::string got = faults(agent(text));
    EXPECT_NE(got.find(fault), got.npos) << text << got;
  }
}

TEST(AcmeKeys, SettingsNameTheServer) {
  AcmeConfig acme;
  EXPECT_EQ(make_renewal_settings(acme, "/a.json")->directory,
            "https://acme-v02.api.letsencrypt.org/directory");
  EXPECT_EQ(make_renewal_settings(acme, "/a.json")->account_path, "/a.json");
  acme.staging = true;
  EXPECT_EQ(make_renewal_settings(acme, "/a.json")->directory,
            "https://acme-staging-v02.api.letsencrypt.org/directory");
  acme.eab_kid = "kid";
  acme.eab_key_file = "/does/not/exist";
  EXPECT_FALSE(make_renewal_settings(acme, "/a.json"));
}

}  // namespace
}  // namespace adit::app
