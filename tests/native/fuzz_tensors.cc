// Tensors, small: every kind of item, any numbers, any payload.
#include "fuzz.h"

using namespace nncodec;
using fuzz::Bytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int way = in.byte() % 4, wild = in.byte();
  const std::string isas[] = {fuzz::isa(in), fuzz::isa(in)};
  std::vector<TensorItem> items;
  int64_t total = 0;
  bool sense = true;
  for (int n = 1 + in.byte() % 3; n > 0; --n) {
    items.push_back(fuzz::item(in, std::size(fuzz::kKinds), 600));
    sense = sense && !fuzz::senseless([&] { total += item_bytes(items.back()); });
  }
  if (sense && total > fuzz::kMostBytes / 4) return 0;
  const auto bytes = static_cast<std::size_t>(sense ? total : 0);
  Bytes payload, whole, chunk;
  if (way == 0) {
    payload = in.rest();
  } else {
    fuzz::Input edits = in;
    if (way == 1) in.bytes(16);
    chunk = fuzz::stretched(in.rest(), bytes, wild);
    const bool no = fuzz::senseless([&] { whole = encode_tensors(items, chunk.data(), bytes, isas[0]); });
    fuzz::require(no == !sense, "items of sense are taken");
    if (no) return 0;
    payload = way == 1 ? fuzz::damaged(whole, edits) : whole;
  }
  Bytes back;
  bool no = false;
  const bool none = fuzz::senseless([&] {
    no = fuzz::refused([&] { back = decode_tensors(items, payload.data(), payload.size(), isas[1]); });
  });
  fuzz::require(none == !sense, "items of sense are taken");
  if (way != 0) fuzz::require(payload != whole || (!no && back == chunk), "tensors come back");
  return 0;
}
