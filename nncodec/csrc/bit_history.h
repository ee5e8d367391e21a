// Bit histories: what followed in a context so far, as one byte.
//
// A state is (n0, n1, last): how many zeros and ones, boundedly many, and which came last. A bit raises
// its count and, beyond two, cuts the other one, so that the recent past weighs more (Mahoney, "Adaptive
// Weighing of Context Models for Lossless Data Compression", 2005; the bounds here are our own). States
// are numbered by n0 + n1, so a smaller number is a context that knows less. The readable twin is
// nncodec/mixing.py.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace nncodec {

// The largest count beside another one that is `other`.
inline int history_bound(int other) {
  constexpr int kBounds[] = {40, 28, 12, 7, 5, 4, 3};
  return other < 7 ? kBounds[other] : other < 13 ? 2 : other < 29 ? 1 : 0;
}

struct HistoryTable {
  struct Counts {
    int zeros, ones, last;
  };
  std::vector<Counts> states;
  std::array<std::array<uint8_t, 2>, 256> next{};

  HistoryTable() {
    for (int total = 0; total <= 80; ++total) {
      for (int ones = 0; ones <= total; ++ones) {
        const int zeros = total - ones;
        if (zeros > history_bound(ones) || ones > history_bound(zeros)) continue;
        if (zeros == 0 || ones == 0) {
          states.push_back({zeros, ones, ones > 0});
        } else {
          states.push_back({zeros, ones, 0});
          states.push_back({zeros, ones, 1});
        }
      }
    }
    for (std::size_t s = 0; s < states.size(); ++s) {
      for (int bit = 0; bit < 2; ++bit) next[s][bit] = static_cast<uint8_t>(find(after(states[s], bit)));
    }
  }

 private:
  static Counts after(const Counts& s, int bit) {
    int mine = (bit ? s.ones : s.zeros) + 1, other = bit ? s.zeros : s.ones;
    if (other > 2) {
      constexpr int kCut[] = {0, 1, 2, 2, 3, 3, 4, 4};
      other = other < 8 ? kCut[other] : other < 16 ? 5 : 6;
    }
    while (mine > history_bound(other) || other > history_bound(mine)) {
      if (mine > history_bound(other)) --mine; else --other;
    }
    return bit ? Counts{other, mine, 1} : Counts{mine, other, 0};
  }

  int find(const Counts& s) const {
    for (std::size_t i = 0; i < states.size(); ++i) {
      const bool pure = s.zeros == 0 || s.ones == 0;
      if (states[i].zeros == s.zeros && states[i].ones == s.ones && (pure || states[i].last == s.last)) {
        return static_cast<int>(i);
      }
    }
    std::abort();  // after() leads to states only
  }
};

}  // namespace nncodec
