#include "tensor_grid.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "tensor_planes.h"

namespace nncodec {

namespace {

// bfloat16 has eight bits itself: with codes as wide every number would be on some grid.
int most_code(TensorKind kind) { return kind == TensorKind::kBFloat16 ? 127 : 255; }
constexpr double kTiny = 0x1p-90;  // smaller ones could make denormal products, which some hardware flushes
constexpr int64_t kLeast = 256;  // elements; fewer are hardly worth a scale

// To the nearest, ties to even; of a finite float32.
uint32_t to_bfloat16(uint32_t v) { return (v + 0x7FFF + (v >> 16 & 1)) >> 16; }

uint32_t to_float16(uint32_t v) {
  const uint32_t sign = v >> 16 & 0x8000, size = v & 0x7FFFFFFF;
  if (size >= 0x47800000) return sign | 0x7C00;  // 2^16 and more
  if (size < 0x38800000) {                       // below 2^-14: in units of 2^-24
    if (size < 0x33000000) return sign;          // below half a unit
    const uint32_t mantissa = (size & 0x7FFFFF) | 0x800000, shift = 126 - (size >> 23);
    const uint32_t whole = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    return sign | (whole + (rest > half || (rest == half && (whole & 1))));
  }
  return sign | ((size - 0x38000000 + 0xFFF + (size >> 13 & 1)) >> 13);
}

float to_float(TensorKind kind, uint32_t v) {
  if (kind == TensorKind::kFloat32) return std::bit_cast<float>(v);
  if (kind == TensorKind::kBFloat16) return std::bit_cast<float>(v << 16);
  const uint32_t exponent = v >> 10 & 31, mantissa = v & 1023;
  const float size = exponent ? std::ldexp(static_cast<float>(1024 + mantissa), static_cast<int>(exponent) - 25)
                              : std::ldexp(static_cast<float>(mantissa), -24);
  return v & 0x8000 ? -size : size;
}

// The float32 within [low, high] that has the fewest mantissa bits.
uint32_t simplest(double low, double high) {
  const auto middle = static_cast<float>((low + high) / 2);
  const uint32_t v = std::bit_cast<uint32_t>(middle);
  for (int drop = 22; drop > 0; --drop) {
    const uint32_t rounded = (v + (1u << (drop - 1))) & ~((1u << drop) - 1);
    const double x = std::bit_cast<float>(rounded);
    if (x >= low && x <= high) return rounded;
  }
  return v;
}

// A group's scale and codes, with the largest element `most` steps from zero. False if it is no such grid.
// `order` has small elements first: how many steps those are is never in doubt, and what they tell of the
// scale decides the large ones.
bool fits(TensorKind kind, const std::vector<uint32_t>& bits, const std::vector<double>& values,
          const std::vector<uint32_t>& order, int most, uint32_t& scale, int16_t* codes) {
  const Layout layout = layout_of(kind);
  // How far an element may lie from what was rounded to it: half a unit in the last place, and towards
  // zero from a power of two half of that.
  const auto above = [&](double size) {
    return std::ldexp(1.0, std::max(std::ilogb(size), 2 - (1 << (layout.exponent - 1))) - layout.mantissa - 1);
  };
  const auto below = [&](double size) {
    return std::ldexp(1.0, std::ilogb(size)) == size ? above(size) / 2 : above(size);
  };
  const double top = std::abs(values[order.back()]);
  double low = (top - below(top)) / most, high = (top + above(top)) / most;
  for (const uint32_t i : order) {
    const double size = std::abs(values[i]), steps = size / ((low + high) / 2);
    const int code = static_cast<int>(steps + 0.5);
    codes[i] = static_cast<int16_t>(values[i] < 0 ? -code : code);
    if (code == 0) {
      if (size != 0) return false;
      continue;
    }
    low = std::max(low, (size - below(size)) / code);
    high = std::min(high, (size + above(size)) / code);
    if (low > high) return false;
  }
  const uint32_t middle = std::bit_cast<uint32_t>(static_cast<float>((low + high) / 2));
  for (const uint32_t candidate : {simplest(low, high), middle, middle - 1, middle + 1}) {
    scale = candidate;
    std::size_t i = 0;
    while (i < values.size() && grid_value(kind, codes[i], scale) == bits[i]) ++i;
    if (i == values.size()) return true;
  }
  return false;
}

// The coarsest grid of one group.
bool find_group(TensorKind kind, const uint8_t* bytes, int64_t n, uint32_t& scale, int16_t* codes) {
  const Layout layout = layout_of(kind);
  std::vector<uint32_t> bits(static_cast<std::size_t>(n), 0);
  std::vector<double> values(bits.size());
  double top = 0, least = 0;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    std::memcpy(&bits[i], bytes + static_cast<int64_t>(i) * layout.bytes, static_cast<std::size_t>(layout.bytes));
    const uint32_t exponent = bits[i] >> layout.mantissa & ((1u << layout.exponent) - 1);
    if (exponent == (1u << layout.exponent) - 1) return false;  // infinities, NaN
    values[i] = static_cast<double>(to_float(kind, bits[i]));
    const double size = std::abs(values[i]);
    top = std::max(top, size);
    if (size > 0 && (least == 0 || size < least)) least = size;
  }
  if (top == 0) {
    scale = 0;
    std::fill(codes, codes + n, int16_t{0});
    return std::all_of(bits.begin(), bits.end(), [](uint32_t v) { return v == 0; });
  }
  if (least < kTiny || top / least > most_code(kind) + 1) return false;
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return std::abs(values[a]) < std::abs(values[b]); });
  for (int most = std::max(1, static_cast<int>(top / least)); most <= most_code(kind); ++most) {
    if (fits(kind, bits, values, order, most, scale, codes)) return true;
  }
  return false;
}

}  // namespace

uint32_t grid_value(TensorKind kind, int code, uint32_t scale) {
  const float product = static_cast<float>(code) * std::bit_cast<float>(scale);
  const uint32_t v = std::bit_cast<uint32_t>(product);
  return kind == TensorKind::kFloat32 ? v : kind == TensorKind::kBFloat16 ? to_bfloat16(v) : to_float16(v);
}

std::optional<Grid> find_grid(const TensorItem& item, const uint8_t* bytes) {
  if (item.kind != TensorKind::kFloat32 && item.kind != TensorKind::kFloat16 && item.kind != TensorKind::kBFloat16) {
    return std::nullopt;
  }
  const int64_t n = item.rows * item.cols, width = layout_of(item.kind).bytes;
  if (n < kLeast) return std::nullopt;
  for (const int64_t group : {item.cols, int64_t{256}, int64_t{128}, int64_t{64}, int64_t{32}}) {
    if (group < 32 || item.cols % group || (group == item.cols && group > (1 << 16))) continue;
    Grid grid{group, {}, {}};
    grid.scales.resize(static_cast<std::size_t>(n / group));
    grid.codes.resize(static_cast<std::size_t>(n));
    int64_t g = 0;
    while (g < n / group && find_group(item.kind, bytes + g * group * width, group,
                                       grid.scales[static_cast<std::size_t>(g)], &grid.codes[static_cast<std::size_t>(g * group)])) {
      ++g;
    }
    if (g == n / group) return grid;
  }
  return std::nullopt;
}

}  // namespace nncodec
