#include "tensor_coder.h"

#include <stdexcept>

#include "isa.h"
#include "tensor_planes.h"
#include "tensor_run.h"

namespace nncodec {

int64_t item_bytes(const TensorItem& item) {
  const int bytes = layout_of(item.kind).bytes;
  if (item.rows < 1 || item.cols < 1 || item.rows > kMaxChunk || item.cols > kMaxChunk ||
      item.rows * item.cols > kMaxChunk / bytes) {
    throw std::invalid_argument("a tensor does not fit a chunk");
  }
  return item.rows * item.cols * bytes;
}

namespace {

std::size_t total_bytes(const std::vector<TensorItem>& items) {
  int64_t total = 0;
  for (const TensorItem& item : items) {
    total += item_bytes(item);
    if (total > kMaxChunk) throw std::invalid_argument("the tensors do not fit a chunk");
  }
  return static_cast<std::size_t>(total);
}

template <class Coder>
void code_items(TensorRun<Coder>& run, const std::vector<TensorItem>& items, uint8_t* bytes) {
  for (const TensorItem& item : items) {
    run.item(item, bytes);
    bytes += item_bytes(item);
  }
}

}  // namespace

std::vector<uint8_t> encode_tensors(const std::vector<TensorItem>& items, const uint8_t* chunk,
                                    std::size_t size, const std::string& isa) {
  if (total_bytes(items) != size) throw std::invalid_argument("the tensors do not fill the chunk");
  std::vector<uint8_t> data(chunk, chunk + size);
  TensorRun<Encode> run(choose_kernels(isa), size, nullptr, 0);
  code_items(run, items, data.data());
  return run.coder().coder.finish();
}

std::vector<uint8_t> decode_tensors(const std::vector<TensorItem>& items, const uint8_t* payload,
                                    std::size_t size, const std::string& isa) {
  std::vector<uint8_t> data(total_bytes(items));
  TensorRun<Decode> run(choose_kernels(isa), data.size(), payload, size);
  code_items(run, items, data.data());
  run.coder().coder.finish();
  return data;
}

}  // namespace nncodec
