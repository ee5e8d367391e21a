#include "field_tables.h"

#include <algorithm>

namespace nncodec {

namespace {

constexpr int kLogBits = 12;

// log2(i) of 1 to 2^kLogBits in units of 2^-16, digit by digit: squaring doubles a logarithm.
struct Logarithms {
  std::array<uint32_t, (1 << kLogBits) + 1> of{};
  Logarithms() {
    for (uint32_t i = 1; i < of.size(); ++i) {
      const int whole = static_cast<int>(std::bit_width(i)) - 1;
      uint64_t x = (static_cast<uint64_t>(i) << 31) >> whole;  // 1 to 2 in units of 2^-31
      uint32_t log = static_cast<uint32_t>(whole);
      for (int digit = 0; digit < 16; ++digit) {
        x = x * x >> 31;
        const auto two = static_cast<uint32_t>(x >> 32);
        log = log * 2 + two;
        x >>= two;
      }
      of[i] = log;
    }
  }
};
const Logarithms kLogarithms;

constexpr uint64_t kBitsOfSymbol = 5, kBitsOfTable = 30;  // what frequencies cost to write, about

}  // namespace

uint32_t log2_fixed(uint32_t x) {
  const int shift = std::max(0, static_cast<int>(std::bit_width(x)) - kLogBits);
  return kLogarithms.of[x >> shift] + (static_cast<uint32_t>(shift) << 16);
}

uint64_t entropy(const Histogram& counts) {
  uint64_t n = 0, sum = 0;
  for (uint32_t c : counts) {
    if (c == 0) continue;
    n += c;
    sum += uint64_t{c} * log2_fixed(c);
  }
  return n == 0 ? 0 : std::max(n * log2_fixed(static_cast<uint32_t>(n)), sum) - sum;
}

uint64_t coded_cost(const Histogram& counts) {
  const auto symbols = static_cast<uint64_t>(256 - std::count(counts.begin(), counts.end(), 0u));
  return entropy(counts) + ((symbols * kBitsOfSymbol + kBitsOfTable) << 16);
}

Frequencies normalize(const Histogram& counts) {
  uint64_t n = 0;
  for (uint32_t c : counts) n += c;
  Frequencies f{};
  int left = kFrequencyTotal, symbols = 0;
  for (std::size_t s = 0; s < 256; ++s) {
    if (counts[s] == 0) continue;
    f[s] = static_cast<uint16_t>(std::max<uint64_t>(1, uint64_t{counts[s]} * kFrequencyTotal / n));
    left -= f[s];
    ++symbols;
  }
  if (symbols == 1) {  // a second one that never comes, so that the first fits 12 bits
    const auto only = static_cast<std::size_t>(std::max_element(f.begin(), f.end()) - f.begin());
    f[only] = kFrequencyTotal - 1;
    f[(only + 1) % 256] = 1;
    return f;
  }
  // One more is worth about c / (f + 1/2) to a symbol, one less costs it c / (f - 1/2).
  for (; left > 0; --left) {
    std::size_t best = 256;
    for (std::size_t s = 0; s < 256; ++s) {
      if (f[s] == 0 || f[s] == kFrequencyTotal - 1) continue;
      if (best == 256 ||
          uint64_t{counts[s]} * (2u * f[best] + 1) > uint64_t{counts[best]} * (2u * f[s] + 1))
        best = s;
    }
    ++f[best];
  }
  for (; left < 0; ++left) {
    std::size_t best = 256;
    for (std::size_t s = 0; s < 256; ++s) {
      if (f[s] < 2) continue;
      if (best == 256 ||
          uint64_t{counts[s]} * (2u * f[best] - 1) < uint64_t{counts[best]} * (2u * f[s] - 1))
        best = s;
    }
    --f[best];
  }
  return f;
}

void fill(const Frequencies& frequencies, RansSlots& slots) {
  uint32_t at = 0;
  for (uint32_t s = 0; s < 256; ++s) {
    const uint32_t f = frequencies[s];
    for (uint32_t i = 0; i < f; ++i) slots.of[at++] = s | f << 8 | i << 20;
  }
}

void fill(const Frequencies& frequencies, RansSymbols& symbols) {
  uint32_t start = 0;
  for (std::size_t s = 0; s < 256; ++s) {
    const uint32_t f = frequencies[s];
    if (f == 0) {
      symbols.of[s] = 0;
      continue;
    }
    // x / f = x * reciprocal >> 32 + shift for x < 2^31 (Alverson 1991); by 1 it is x - 1, which `start`
    // mends.
    const int shift = f == 1 ? 0 : std::bit_width(f - 1);
    const uint64_t reciprocal = f == 1 ? ~0u : ((uint64_t{1} << (shift + 31)) + f - 1) / f;
    const uint32_t begin = f == 1 ? start + kFrequencyTotal - 1 : start;
    symbols.of[s] =
        reciprocal << 32 | static_cast<uint32_t>(f == 1 ? 0 : shift - 1) << 25 | begin << 12 | f;
    start += f;
  }
}

}  // namespace nncodec
