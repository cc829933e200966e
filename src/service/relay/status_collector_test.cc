#include "service/relay/status_collector.h"

#include <array>
#include <optional>

#include "crypto/init.h"
#include "crypto/test_tls.h"
#include "io/cares_resolver.h"
#include "io/real_loop_cases.h"

namespace adit::service {
namespace {

// Three threads of a relay, all on this one: a thread whose loop is not turned is one that hangs.
class StatusCollectorTest : public io::LoopConformance {
 protected:
  static constexpr std::uint32_t kThreads = 3;

  void SetUp() override {
    crypto::init();
    LoopConformance::SetUp();
    if (IsSkipped()) return;
    settings_.domains = {"relay.test"};
    const crypto::Identity identity("relay.test");
    const auto options = crypto::server_options(identity);
    tls_.emplace(LinkTls{crypto::must(crypto::TlsContext::server(options)),
                         crypto::must(crypto::TlsContext::server(options)),
                         crypto::must(crypto::TlsContext::server(options))});
    threads_.entries.resize(kThreads);
    for (std::uint32_t i = 0; i < kThreads; ++i) {
      Thread& t = thread_[i];
      t.harness = GetParam().make();
      ASSERT_NE(t.harness, nullptr);
      t.resolver = crypto::must(io::make_cares_resolver(t.harness->loop(), {}));
      t.relay.emplace(i, threads_, t.harness->loop(), *t.resolver, log_, settings_, *tls_,
                      Bytes(secret_));
      threads_.entries[i] = {&t.harness->loop(), &*t.relay};
      t.relay->metrics().counter("probe_total").add(10 + i);
    }
    collector_.emplace(loop(0), threads_, 50ms);
  }

  io::Loop& loop(std::uint32_t i) { return thread_[i].harness->loop(); }
  void collect() {
    collector_->collect(StatusCollector::Done::to<&StatusCollectorTest::on_done>(this));
  }
  void on_done(const RelayReport& report) {
    reports_.push_back(report);
    if (again_ > 0) --again_, collect();
  }
  // Turns the loops of `alive`, which has 0 first, until there are `n` reports.
  bool reported(std::size_t n, std::initializer_list<std::uint32_t> alive) {
    const Instant limit = loop(0).now() + 10s;
    while (reports_.size() < n) {
      if (loop(0).now() >= limit) return false;
      for (const std::uint32_t i : alive) loop(i).turn(loop(i).now() + (i == 0 ? 1ms : 0ms));
    }
    return true;
  }
  std::int64_t probe_sum(const RelayReport& report) {
    std::int64_t sum = 0;
    for (const MetricSample& s : report.samples)
      if (s.name == "probe_total") sum += s.value;
    return sum;
  }

  struct Thread {
    std::unique_ptr<io::LoopHarness> harness;
    std::unique_ptr<io::Resolver> resolver;
    std::optional<RelayThread> relay;
  };
  NullLog log_;
  RelaySettings settings_;
  const std::array<std::uint8_t, 32> secret_{};
  std::optional<LinkTls> tls_;
  RelayThreads threads_;
  std::array<Thread, kThreads> thread_;
  std::optional<StatusCollector> collector_;
  std::vector<RelayReport> reports_;
  int again_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Real, StatusCollectorTest, io::real_cases(), io::case_name);

TEST_P(StatusCollectorTest, AllAnswer) {
  collect();
  EXPECT_TRUE(collector_->busy());
  EXPECT_TRUE(reports_.empty()) << "never at once";
  ASSERT_TRUE(reported(1, {0, 1, 2}));
  EXPECT_FALSE(collector_->busy());
  const RelayReport& r = reports_[0];
  ASSERT_EQ(r.threads.size(), 3u);
  for (std::uint32_t i = 0; i < kThreads; ++i) EXPECT_EQ(r.threads[i].thread, i);
  EXPECT_TRUE(r.missing.empty());
  EXPECT_EQ(probe_sum(r), 33);
  EXPECT_TRUE(r.threads[0].metrics.empty()) << "they are in samples";
}

TEST_P(StatusCollectorTest, ThreadThatNeverAnswersIsNamed) {
  const Instant begin = loop(0).now();
  collect();
  ASSERT_TRUE(reported(1, {0, 2}));
  EXPECT_GE(loop(0).now() - begin, 50ms);
  const RelayReport& r = reports_[0];
  ASSERT_EQ(r.threads.size(), 2u);
  EXPECT_EQ(r.threads[0].thread, 0u);
  EXPECT_EQ(r.threads[1].thread, 2u);
  EXPECT_EQ(r.missing, std::vector<std::uint32_t>{1});
  EXPECT_EQ(probe_sum(r), 22);
}

TEST_P(StatusCollectorTest, SamplesOfAThreadThatHangsStay) {
  collect();
  ASSERT_TRUE(reported(1, {0, 1, 2}));
  thread_[0].relay->metrics().counter("probe_total").add(100);
  collect();
  ASSERT_TRUE(reported(2, {0, 2}));
  EXPECT_EQ(reports_[1].missing, std::vector<std::uint32_t>{1});
  EXPECT_EQ(probe_sum(reports_[1]), 133) << "a counter must not shrink";
}

TEST_P(StatusCollectorTest, LateAnswerCountsNextTime) {
  collect();
  ASSERT_TRUE(reported(1, {0, 2}));
  collect();
  ASSERT_TRUE(reported(2, {0, 2}));
  EXPECT_EQ(reports_[1].missing.size(), 1u);
  thread_[1].relay->metrics().counter("probe_total").add(1000);
  collect();
  ASSERT_TRUE(reported(3, {0, 1, 2}));
  EXPECT_TRUE(reports_[2].missing.empty());
  EXPECT_EQ(probe_sum(reports_[2]), 1033);
  // And one that comes when nobody waits is kept for its samples.
  collect();
  ASSERT_TRUE(reported(4, {0, 2}));
  loop(1).turn(loop(1).now());
  loop(0).turn(loop(0).now());
  EXPECT_EQ(reports_.size(), 4u);
  collect();
  ASSERT_TRUE(reported(5, {0, 1, 2}));
  EXPECT_TRUE(reports_[4].missing.empty());
}

TEST_P(StatusCollectorTest, NextMayBeginFromDone) {
  again_ = 3;
  collect();
  ASSERT_TRUE(reported(4, {0, 1, 2}));
  EXPECT_FALSE(collector_->busy());
}

TEST_P(StatusCollectorTest, EndsWhileMessagesAreOnTheirWay) {
  collect();
  loop(1).turn(loop(1).now());
  collector_.reset();  // the loops do not turn any more
}

}  // namespace
}  // namespace adit::service
