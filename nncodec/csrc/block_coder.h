// A coded block, both ways: step over lanes -> counts -> range coder -> next symbols, all in C++.
//
// One function, Run::code_unit, codes in both directions; the decoder differs from the encoder in where
// a symbol comes from and in having to wait for it. The readable twin is nncodec/lanes.py.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine.h"

namespace nncodec {

// A block of `size` bytes is a prefix coded in one lane, then `lanes` contiguous runs that step
// together; the first ones are a byte longer where the division leaves a rest.
struct Geometry {
  int64_t size = 0;
  int lanes = 1;
  int64_t prefix = 0;
};

class BlockCoder {
 public:
  enum class Direction { kEncode, kDecode };

  // `input` is the block (kEncode, geometry.size bytes) or its payload (kDecode). Throws
  // std::invalid_argument for a geometry that makes no sense, PayloadError for a hopeless payload.
  BlockCoder(Engine& engine, Geometry geometry, Direction direction, const uint8_t* input,
             std::size_t input_size);
  ~BlockCoder();

  // Codes `bytes` more, or a little over, or all that are left; returns how many are done in all.
  // Throws PayloadError if the payload is found damaged.
  int64_t run(int64_t bytes);

  // After run() has returned geometry.size: the payload (kEncode) or the block (kDecode).
  std::vector<uint8_t> finish();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace nncodec
