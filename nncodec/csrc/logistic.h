// Probabilities and the logistic domain, in integers: the same on every machine by construction.
//
// A probability is 16 bits, 1..65535. A logit is ln(p / (1 - p)) in units of 1/256. The readable twin
// is nncodec/mixing.py.
#pragma once

#include <array>
#include <cstdint>

namespace nncodec {

constexpr int kProbabilityOne = 1 << 16;
constexpr int kMaxLogit = 2815;  // 11 nats: 1 / (1 + e^11) is about one part in 2^16

struct LogisticTables {
  std::array<uint16_t, 2 * kMaxLogit + 1> squash{};
  // Every p below 1024, then p / 16, then every p from 65536 - 1024 to 65536. One more is never used:
  // vectors are looked up in words of 32 bits.
  std::array<int16_t, 1024 + 4096 + 1025 + 1> stretch{};

  constexpr LogisticTables() {
    // e^(-k / 256) as a fraction of 2^31, by repeated products with floor(e^(-1/256) 2^32).
    constexpr uint64_t kDecay = 4278222805u;
    uint64_t power = uint64_t{1} << 31;
    for (int k = 0; k <= kMaxLogit; ++k) {
      const uint64_t whole = (uint64_t{1} << 31) + power;
      const auto p = static_cast<int>(((uint64_t{1} << 47) + whole / 2) / whole);
      squash[kMaxLogit + k] = static_cast<uint16_t>(p < 65535 ? p : 65535);
      squash[kMaxLogit - k] = static_cast<uint16_t>(65536 - squash[kMaxLogit + k]);
      power = power * kDecay >> 32;
    }
    int logit = -kMaxLogit;
    const auto inverse = [&](int p) {  // the first logit that reaches p; called with rising p
      while (logit < kMaxLogit && squash[kMaxLogit + logit] < p) ++logit;
      return static_cast<int16_t>(logit);
    };
    for (int p = 0; p < 1024; ++p) {
      stretch[p] = inverse(p);
      stretch[1024 + 4096 + 1024 - p] = static_cast<int16_t>(-stretch[p]);
    }
    stretch[1024 + 4096] = static_cast<int16_t>(-inverse(1024));
    logit = -kMaxLogit;
    for (int i = 0; i < 4096; ++i) stretch[1024 + i] = inverse(16 * i + 8);
  }
};

// Constants, not initialisers: this file is compiled with flags of several instruction sets, and the
// linker would keep any one of their initialisers.
inline constexpr LogisticTables kLogistic;

// 2^15 / (n + 1.5): how far a probability that was updated n times goes with the next bit.
struct ReciprocalTable {
  std::array<int32_t, 1024> of{};
  constexpr ReciprocalTable() {
    for (int n = 0; n < 1024; ++n) of[n] = (1 << 16) / (2 * n + 3);
  }
};
inline constexpr ReciprocalTable kReciprocals;

// Logit -> probability.
inline int squash(int logit) {
  logit = logit < -kMaxLogit ? -kMaxLogit : logit > kMaxLogit ? kMaxLogit : logit;
  return kLogistic.squash[kMaxLogit + logit];
}

// Probability (0..65536) -> logit. Without branches: which part p lies in is hard to foresee.
inline int stretch(int p) {
  int i = 1024 + (p >> 4);
  i = p < 1024 ? p : i;
  i = p > kProbabilityOne - 1024 ? p - (kProbabilityOne - 1024) + 1024 + 4096 : i;
  return kLogistic.stretch[i];
}

}  // namespace nncodec
