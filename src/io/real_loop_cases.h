// The real loops as cases for tests.
#pragma once

#include <memory>
#include <vector>

#include "io/epoll_loop.h"
#include "io/loop_conformance.h"
#include "io/uring_loop.h"

namespace adit::io {

class RealHarness : public LoopHarness {
 public:
  explicit RealHarness(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
  Loop& loop() override { return *loop_; }

 private:
  std::unique_ptr<Loop> loop_;
};

inline LoopCase uring_case(UringLoop::Mode mode, const char* name) {
  return {name, [mode]() -> std::unique_ptr<LoopHarness> {
            auto loop = UringLoop::open(mode);
            if (!loop) return nullptr;
            return std::make_unique<RealHarness>(std::move(*loop));
          }};
}

inline LoopCase epoll_case() {
  return {"epoll", []() -> std::unique_ptr<LoopHarness> {
            auto loop = EpollLoop::open();
            if (!loop) return nullptr;
            return std::make_unique<RealHarness>(std::move(*loop));
          }};
}

// Every way a real loop may be set up, refused or not; those refused are skipped.
inline auto all_real_cases() {
  return testing::Values(uring_case(UringLoop::Mode::Defer, "uring"),
                         uring_case(UringLoop::Mode::Coop, "uring_coop"),
                         uring_case(UringLoop::Mode::Plain, "uring_plain"), epoll_case());
}

// One of each kind.
inline auto real_cases() {
  return testing::Values(uring_case(UringLoop::Mode::Defer, "uring"), epoll_case());
}

inline std::string case_name(const testing::TestParamInfo<LoopCase>& test) {
  return test.param.name;
}

}  // namespace adit::io
