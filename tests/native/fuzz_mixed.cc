// Context models beside counts from outside: blocks come back, payloads are decoded or refused.
#include "../../nncodec/csrc/mixed_coder.h"
#include "fuzz.h"

using namespace nncodec;
using fuzz::Bytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int way = in.byte() % 4;
  const Network network = in.byte() & 1 ? Network::kLearning : Network::kTrained;
  const std::string isas[] = {fuzz::isa(in), fuzz::isa(in)};
  const Geometry g{in.below(300), 1 + in.byte() % 40, in.byte()};
  const int bits = 9 + in.byte() % 4;
  std::vector<std::vector<int32_t>> kinds;
  for (int n = 1 + in.byte() % 3; n > 0; --n) kinds.push_back(fuzz::counts(in));
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < g.size; ++i) {
    const auto& row = kinds[static_cast<std::size_t>(i) % kinds.size()];
    rows.insert(rows.end(), row.begin(), row.end());
  }
  Bytes block(static_cast<std::size_t>(g.size)), payload, whole;
  fuzz::Input edits = in;
  if (way == 0) {
    payload = in.rest();
  } else {
    if (way == 1) in.bytes(16);
    const Bytes given = in.rest();
    std::copy_n(given.begin(), std::min(given.size(), block.size()), block.begin());
    const bool no = fuzz::senseless([&] {
      MixedCoder<Encode> encoder(g, bits, network, isas[0]);
      Bytes own = block;
      encoder.code(rows.data(), own.data(), own.size());
      whole = encoder.finish();
    });
    fuzz::require(no == (!g.makes_sense() || bits < kMinTableBits), "a geometry of sense is taken");
    if (no) return 0;
    payload = way == 1 ? fuzz::damaged(whole, edits) : whole;
  }
  Bytes back(block.size());
  bool no = false;
  const bool none = fuzz::senseless([&] {
    no = fuzz::refused([&] {
      MixedCoder<Decode> decoder(g, bits, network, isas[1], payload.data(), payload.size());
      decoder.code(rows.data(), back.data(), back.size());
      decoder.finish();
    });
  });
  if (way != 0) fuzz::require(!none && (payload != whole || (!no && back == block)), "a block comes back");
  return 0;
}
