// What the fuzz targets share: fields cut off an input, damage, and what must hold.
//
// A target is one function over any bytes. libFuzzer drives it (scripts/fuzz.sh), and so does
// fuzz_replay.cc, over files and mutations of them, where there is no libFuzzer. The first bytes of an
// input say what is done, the rest what it is done to, so that both are mutated alike. Sizes are small:
// what a target covers in a second is worth more than the length of its blocks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../nncodec/csrc/isa.h"
#include "../../nncodec/csrc/range_coder.h"
#include "../../nncodec/csrc/tensor_coder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size);

namespace fuzz {

using Bytes = std::vector<uint8_t>;

// Fields of an input, in order; zeros once it has ended.
class Input {
 public:
  Input(const uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  uint64_t number(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint64_t{byte()} << (8 * i);
    return value;
  }
  // 0 <= result < n
  int below(int n) { return static_cast<int>(number(n > 256 ? 4 : 1) % static_cast<uint64_t>(n)); }
  Bytes bytes(std::size_t most) {
    const std::size_t n = std::min(most, size_ - at_);
    const Bytes taken(data_ + at_, data_ + at_ + n);
    at_ += n;
    return taken;
  }
  Bytes rest() { return bytes(size_); }

 private:
  const uint8_t* data_;
  std::size_t size_, at_ = 0;
};

// Stops the fuzzer: what it was given is a case.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Whether `action` refuses its payload; what else it throws is a find.
template <class Action>
bool refused(Action action) {
  try {
    action();
    return false;
  } catch (const nncodec::PayloadError&) {
    return true;
  }
}

// Whether `action` says that its arguments make no sense.
template <class Action>
bool senseless(Action action) {
  try {
    action();
    return false;
  } catch (const std::invalid_argument&) {
    return true;
  }
}

// A few bytes of a payload changed, and some cut off or added.
inline Bytes damaged(Bytes payload, Input& in) {
  for (int edits = in.byte() % 4; edits > 0 && !payload.empty(); --edits) {
    payload[in.number(2) % payload.size()] ^= in.byte();
  }
  const int way = in.byte() % 8;
  if (way == 1 && !payload.empty()) payload.resize(payload.size() - 1 - in.byte() % payload.size());
  if (way == 2) payload.insert(payload.end(), in.byte() % 9, in.byte());
  return payload;
}

// `size` bytes out of few: as they are, over and over, or with noise in the low bits as numbers have.
inline Bytes stretched(const Bytes& few, std::size_t size, int way) {
  Bytes many(size);
  uint32_t noise = 1;
  for (std::size_t i = 0; i < size; ++i) {
    noise = noise * 1664525 + 1013904223;
    const uint8_t base = few.empty() ? 0 : few[i % few.size()];
    const int wild = way & 3;
    many[i] = wild == 0   ? base
              : wild == 1 ? static_cast<uint8_t>(base + (noise >> 30))
              : wild == 2 ? static_cast<uint8_t>(i % 4 == 3 ? base : noise >> 24)
                          : static_cast<uint8_t>(i < few.size() ? base : 0);
  }
  return many;
}

inline std::string isa(Input& in) {
  static const std::vector<std::string> names = nncodec::available_isas();
  return names[in.byte() % names.size()];
}

constexpr int kKinds[] = {0, 2, 3, 4, 5, 6, 7, 8, 9, 32, 33, 34, 35, 36, 37, 38, 39};
constexpr int64_t kMostBytes = 1 << 14;  // of a chunk

// An item of one of the first `kinds` kinds, of few bytes; some have none, or are no kind at all.
inline nncodec::TensorItem item(Input& in, int kinds, int64_t room) {
  const int code = in.byte();
  const auto kind = static_cast<nncodec::TensorKind>(code < 250 ? kKinds[code % kinds] : code);
  const uint8_t role = in.byte(), shape = in.byte();
  if (shape == 255) {
    return {kind, role, static_cast<int64_t>(in.number(8)), static_cast<int64_t>(in.number(8))};
  }
  const int64_t cols = 1 + in.below(shape & 1 ? 4096 : 40);
  return {kind, role, std::max<int64_t>(1, std::min<int64_t>(1 + shape % 64, room / cols)), cols};
}

// A row of counts that a coder takes: one symbol is likely, the others are as likely as each other.
inline std::vector<int32_t> counts(Input& in) {
  const int others = 1 + in.below(65536);
  std::vector<int32_t> row(256, others);
  row[in.byte()] = (1 << 24) - 255 * others;
  return row;
}

}  // namespace fuzz
