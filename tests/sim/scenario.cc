#include "sim/scenario.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "io/loop.h"
#include "sim/sim_loop.h"

extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace adit::sim {

namespace {

// What is said when the process dies inside a scenario; built before, as a signal handler may not.
char repeat_line[512];

void say_repeat_line() {
  // Nothing is to be done about a failing write on the way down.
  if (::write(STDERR_FILENO, repeat_line, std::strlen(repeat_line)) < 0) return;
}

void on_abort(int signal) {
  say_repeat_line();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void announce(std::uint64_t seed) {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string name =
      test != nullptr ? std::string(test->test_suite_name()) + "." + test->name() : "*";
  std::snprintf(repeat_line, sizeof repeat_line,
                "seed %llu failed; repeat: ADIT_SIM_SEED=%llu sim_test --gtest_filter=%s\n",
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(seed),
                name.c_str());
}

// Says the seed also where a CHECK or a sanitizer ends the process.
class DeathNote {
 public:
  DeathNote() : before_(std::signal(SIGABRT, on_abort)) {
    if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(say_repeat_line);
  }
  ~DeathNote() {
    repeat_line[0] = 0;
    std::signal(SIGABRT, before_);
  }
  DeathNote(const DeathNote&) = delete;
  DeathNote& operator=(const DeathNote&) = delete;

 private:
  void (*before_)(int);
};

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == 0 ? otherwise : std::strtoull(text, nullptr, 10);
}

std::uint64_t run_one(std::uint64_t seed, const Scenario& scenario) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  World world(seed);
  scenario(world);
  return world.trace_hash();
}

void run_seeds(std::uint64_t default_count, const std::function<void(std::uint64_t)>& one) {
  const bool single = std::getenv("ADIT_SIM_SEED") != nullptr;
  const std::uint64_t first = number_from("ADIT_SIM_SEED", 1);
  const std::uint64_t count = single ? 1 : number_from("ADIT_SIM_SEEDS", default_count);
  const DeathNote note;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    announce(seed);
    one(seed);
    if (!testing::Test::HasFailure()) continue;
    say_repeat_line();
    return;
  }
}

}  // namespace

void for_each_seed(std::uint64_t default_count, const Scenario& scenario) {
  run_seeds(default_count, [&](std::uint64_t seed) { run_one(seed, scenario); });
}

void for_each_seed_twice(std::uint64_t default_count, const Scenario& scenario) {
  run_seeds(default_count, [&](std::uint64_t seed) {
    const std::uint64_t first = run_one(seed, scenario), second = run_one(seed, scenario);
    EXPECT_EQ(first, second) << "something here does not follow from the seed";
  });
}

// --- SimLog ---

SimLog::SimLog(Host& host) : host_(host) {
  const char* wish = std::getenv("ADIT_SIM_LOG");
  print_ = wish != nullptr;
  shown_ = print_ && std::string_view(wish) == "debug" ? LogLevel::Debug : LogLevel::Info;
}

void SimLog::write(LogLevel level, std::string_view event, LogFields fields) {
  ++counts_[std::string(event)];
  if (!print_ || level < shown_) return;
  const std::string line = format_text(host_.loop().wall_time(), level, event, fields);
  std::fprintf(stderr, "%-8s %s\n", host_.name().c_str(), line.c_str());
}

std::uint64_t SimLog::count(std::string_view event) const {
  const auto it = counts_.find(event);
  return it == counts_.end() ? 0 : it->second;
}

}  // namespace adit::sim
