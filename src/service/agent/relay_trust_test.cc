#include "service/agent/relay_trust.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace adit::service {
namespace {

namespace fs = std::filesystem;
using Mode = RelayTrust::Mode;

class RelayTrustTest : public ::testing::Test {
 protected:
  RelayTrustTest() {
    std::string name = (fs::temp_directory_path() / "adit-trust-").string() + std::string(6, 'X');
    folder_ = ::mkdtemp(name.data());
    file_.emplace(folder_ / "known_relays");
  }
  ~RelayTrustTest() override { fs::remove_all(folder_); }
  RelayTrust trust(const std::string& pin = {}) { return {"r:443", pin, *file_, log_}; }
  std::string known() { return file_->read()->find("r:443").value_or("nothing"); }

  fs::path folder_;
  std::optional<KnownRelaysFile> file_;
  NullLog log_;
};

TEST_F(RelayTrustTest, RemembersAKeyAndRefusesAnother) {
  RelayTrust t = trust();
  EXPECT_EQ(t.mode(), Mode::WebPki);
  EXPECT_TRUE(t.certificate_failed());
  EXPECT_EQ(t.mode(), Mode::ByKey);
  ASSERT_TRUE(t.accept("sha256/a", Mode::ByKey));
  EXPECT_EQ(known(), "sha256/a");
  EXPECT_TRUE(t.accept("sha256/a", Mode::ByKey));
  EXPECT_FALSE(t.accept("sha256/b", Mode::ByKey));
  EXPECT_EQ(t.mode(), Mode::WebPki);  // a certificate may explain it
}

// Two carriers race by key. The first to show another key has the next attempt ask the public web;
// the second has not been verified by that.
TEST_F(RelayTrustTest, AKeyThatChangedIsRefusedOnEveryLinkOfARace) {
  RelayTrust t = trust();
  t.certificate_failed();
  ASSERT_TRUE(t.accept("sha256/a", Mode::ByKey));
  EXPECT_FALSE(t.accept("sha256/b", Mode::ByKey));
  EXPECT_FALSE(t.accept("sha256/b", Mode::ByKey));
  EXPECT_EQ(known(), "sha256/a");
  // A verified chain does explain it.
  EXPECT_TRUE(t.accept("sha256/b", Mode::WebPki));
  EXPECT_EQ(known(), "webpki");
  // From then on nothing less will do.
  EXPECT_FALSE(t.accept("sha256/a", Mode::ByKey));
  EXPECT_FALSE(t.certificate_failed());
}

TEST_F(RelayTrustTest, APinDecidesAlone) {
  RelayTrust t = trust("sha256/a");
  EXPECT_EQ(t.mode(), Mode::ByKey);
  EXPECT_TRUE(t.accept("sha256/a", Mode::ByKey));
  EXPECT_FALSE(t.accept("sha256/b", Mode::WebPki));
  EXPECT_EQ(known(), "nothing");
}

}  // namespace
}  // namespace adit::service
