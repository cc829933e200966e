// Deterministic pseudo-random numbers (SplitMix64) for jitter, fairness and the simulator. Never
// for secrets: those come from crypto/random.h.
#pragma once

#include <cstdint>

namespace adit {

__extension__ typedef unsigned __int128 WideProduct;  // outside ISO C++, in both compilers

class Prng {
 public:
  explicit Prng(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Uniform enough in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<WideProduct>(next()) * bound) >> 64);
  }
  bool chance(double p) { return static_cast<double>(next() >> 11) * 0x1.0p-53 < p; }

 private:
  std::uint64_t state_;
};

}  // namespace adit
