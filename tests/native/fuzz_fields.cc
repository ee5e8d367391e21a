// Tensors, fast: every kind of item, any numbers, any payload, the same bytes on all kernels.
#include "../../nncodec/csrc/field_coder.h"
#include "fuzz.h"

using namespace nncodec;
using fuzz::Bytes;

namespace {

constexpr int kFieldKinds = 8;  // the first of fuzz::kKinds

Bytes encoded(const std::vector<TensorItem>& items, const Bytes& chunk, const std::string& isa) {
  Bytes payload;
  encode_fields(items, chunk.data(), chunk.size(), isa, [&](std::size_t size) {
    payload.resize(size);
    return payload.data();
  });
  return payload;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int way = in.byte() % 4, wild = in.byte();
  const std::string isas[] = {fuzz::isa(in), fuzz::isa(in)};
  std::vector<TensorItem> items;
  for (int n = 1 + in.byte() % 3; n > 0; --n) {
    items.push_back(fuzz::item(in, kFieldKinds, 3000));
    if (static_cast<int>(items.back().kind) > 8 || static_cast<int>(items.back().kind) == 1) return 0;  // its caller sees to that
  }
  std::size_t bytes = 0;
  const bool sense = !fuzz::senseless([&] { bytes = field_bytes(items); });
  if (!sense || bytes > fuzz::kMostBytes) return 0;
  Bytes payload, whole, chunk;
  if (way == 0) {
    payload = in.rest();
  } else {
    fuzz::Input edits = in;
    if (way == 1) in.bytes(16);
    chunk = fuzz::stretched(in.rest(), bytes, wild);
    whole = encoded(items, chunk, isas[0]);
    fuzz::require(whole == encoded(items, chunk, isas[1]), "kernels write the same");
    payload = way == 1 ? fuzz::damaged(whole, edits) : whole;
  }
  Bytes back[2] = {Bytes(bytes), Bytes(bytes)};
  bool no[2];
  for (int i : {0, 1}) {
    no[i] = fuzz::refused([&] { decode_fields(items, payload.data(), payload.size(), back[i].data(), isas[i]); });
  }
  fuzz::require(no[0] == no[1] && (no[0] || back[0] == back[1]), "kernels read the same");
  if (way != 0) fuzz::require(payload != whole || (!no[0] && back[0] == chunk), "fields come back");
  return 0;
}
