// Range coder: symbols of 256 and of many, and bits, of any counts and any payload.
#include "fuzz.h"

using namespace nncodec;
using fuzz::Bytes;

namespace {

constexpr int kMost = 400;  // symbols a run

// A few ways to code a symbol: rows of 256 counts, rows of any number, bits.
struct Step {
  std::vector<int32_t> narrow;
  std::vector<uint32_t> wide;
  uint32_t ones = 0;
};

std::vector<uint32_t> wide_counts(fuzz::Input& in) {
  const auto n = static_cast<std::size_t>(1 + in.below(600));
  const uint32_t others = 1 + static_cast<uint32_t>(in.number(2));
  std::vector<uint32_t> row(n, others);
  const uint64_t rest = (uint64_t{1} << 32) - uint64_t{others} * (n - 1);
  if (rest >> 32 == 0) {
    row[in.number(2) % n] = static_cast<uint32_t>(rest);
  } else {
    return {uint32_t{1} << 31, uint32_t{1} << 31};  // one symbol of all counts cannot be told in 32 bits
  }
  return row;
}

Step read_step(fuzz::Input& in) {
  Step step;
  switch (in.byte() % 3) {
    case 0: step.narrow = fuzz::counts(in); break;
    case 1: step.wide = wide_counts(in); break;
    default: step.ones = 1 + static_cast<uint32_t>(in.number(3) % (kCountTotal - 1));
  }
  return step;
}

void encode(RangeEncoder& coder, const Step& step, uint8_t symbol) {
  if (!step.narrow.empty()) {
    coder.encode(step.narrow.data(), symbol);
  } else if (!step.wide.empty()) {
    coder.encode_wide(step.wide.data(), step.wide.size(), symbol % step.wide.size());
  } else {
    coder.encode_bit(step.ones, symbol & 1);
  }
}

std::size_t decode(RangeDecoder& coder, const Step& step) {
  if (!step.narrow.empty()) return coder.decode(step.narrow.data());
  if (!step.wide.empty()) return coder.decode_wide(step.wide.data(), step.wide.size());
  return static_cast<std::size_t>(coder.decode_bit(step.ones));
}

std::size_t meant(const Step& step, uint8_t symbol) {
  if (!step.narrow.empty()) return symbol;
  return step.wide.empty() ? symbol & 1 : symbol % step.wide.size();
}

// Any numbers as counts: taken only if they are some.
void any_counts(fuzz::Input& in) {
  std::vector<int32_t> row(256);
  for (int32_t& count : row) count = static_cast<int32_t>(in.number(4));
  int64_t sum = 0;
  bool positive = true;
  for (int32_t count : row) sum += count, positive = positive && count > 0;
  RangeEncoder coder;
  const bool no = fuzz::senseless([&] { coder.encode(row.data(), in.byte()); });
  fuzz::require(no == (!positive || sum != kCountTotal), "counts are taken exactly if they are some");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int way = in.byte() % 8;
  if (way == 7) return any_counts(in), 0;
  std::vector<Step> steps;
  for (int n = 1 + in.byte() % 6; n > 0; --n) steps.push_back(read_step(in));
  const auto step = [&](std::size_t i) -> const Step& { return steps[i % steps.size()]; };
  if (way == 0) {
    const Bytes payload = in.rest();
    fuzz::refused([&] {
      RangeDecoder coder(payload.data(), payload.size());
      for (std::size_t i = 0; i < kMost; ++i) decode(coder, step(i));
      coder.finish();
    });
    return 0;
  }
  const bool harmed = way == 1;
  fuzz::Input edits = in;
  if (harmed) in.bytes(16);
  const Bytes symbols = in.bytes(kMost);
  RangeEncoder encoder;
  for (std::size_t i = 0; i < symbols.size(); ++i) encode(encoder, step(i), symbols[i]);
  const Bytes whole = encoder.finish(), payload = harmed ? fuzz::damaged(whole, edits) : whole;
  bool same = true;
  const bool no = fuzz::refused([&] {
    RangeDecoder coder(payload.data(), payload.size());
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      same = same && decode(coder, step(i)) == meant(step(i), symbols[i]);
    }
    coder.finish();
  });
  fuzz::require(payload != whole || (same && !no), "symbols come back");
  return 0;
}
