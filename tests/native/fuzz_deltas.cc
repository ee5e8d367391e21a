// Deltas: any numbers given any base, in every mode, and any payload.
#include "../../nncodec/csrc/delta_coder.h"
#include "fuzz.h"

using namespace nncodec;
using fuzz::Bytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int way = in.byte() % 4, wild = in.byte();
  const std::string isas[] = {fuzz::isa(in), fuzz::isa(in)};
  std::vector<DeltaItem> items;
  std::vector<std::size_t> ends;
  int64_t total = 0;
  bool sense = true;
  for (int n = 1 + in.byte() % 3; n > 0; --n) {
    const auto mode = static_cast<DeltaMode>(in.byte() % 4);
    items.push_back({fuzz::item(in, std::size(fuzz::kKinds), 600), mode});
    sense = sense && !fuzz::senseless([&] { total += item_bytes(items.back().tensor); });
    if (!sense || total > fuzz::kMostBytes / 4) return 0;
    ends.push_back(static_cast<std::size_t>(total));
  }
  const auto bytes = static_cast<std::size_t>(total);
  Bytes payload, whole, chunk;
  const Bytes few = in.bytes(64), base = fuzz::stretched(few, bytes, wild);
  if (way == 0) {
    payload = in.rest();
  } else {
    fuzz::Input edits = in;
    if (way == 1) in.bytes(16);
    const Bytes moves = in.rest();
    chunk = base;
    for (std::size_t i = 0; i < bytes && !moves.empty(); ++i) {
      std::size_t item = 0;
      while (ends[item] <= i) ++item;
      if (items[item].mode != DeltaMode::kEqual) chunk[i] ^= moves[i % moves.size()];
    }
    const bool no = fuzz::senseless(
        [&] { whole = encode_deltas(items, base.data(), chunk.data(), bytes, isas[0]); });
    if (no) return 0;  // no kind for deltas, or no mode
    payload = way == 1 ? fuzz::damaged(whole, edits) : whole;
  }
  Bytes back;
  bool no = false;
  const bool none = fuzz::senseless([&] {
    no = fuzz::refused([&] {
      back = decode_deltas(items, base.data(), bytes, payload.data(), payload.size(), isas[1]);
    });
  });
  if (way != 0) fuzz::require(!none && (payload != whole || (!no && back == chunk)), "deltas come back");
  return 0;
}
