// A coded block, both ways: step over lanes -> counts -> range coder -> next symbols, all in C++.
//
// One function, Run::code_unit, codes in both directions; the decoder differs from the encoder in where
// a symbol comes from and in having to wait for it. The readable twin is nncodec/lanes.py.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine.h"
#include "lane_geometry.h"
#include "trace.h"

namespace nncodec {

class BlockCoder {
 public:
  enum class Direction { kEncode, kDecode };

  // `engine` may be null: then context models code alone, in one lane. `table_bits` is the size of
  // the context mixer's table (see context_mixer.h); 0 for none. `input` is the block (kEncode,
  // geometry.size bytes) or its payload (kDecode). Throws std::invalid_argument for arguments that
  // make no sense, PayloadError for a hopeless payload. `isa` is for context models alone; else it
  // is the engine's. `trace` (kEncode): what each byte costs is noted. Calls from several threads take
  // turns.
  BlockCoder(Engine* engine, Geometry geometry, int table_bits, Direction direction,
             const uint8_t* input, std::size_t input_size, const std::string& isa = "",
             bool trace = false);
  ~BlockCoder();

  // Codes `bytes` more, or a little over, or all that are left; returns how many are done in all.
  // Throws PayloadError if the payload is found damaged.
  int64_t run(int64_t bytes);

  // Once, after run() has returned geometry.size: the payload (kEncode) or the block (kDecode).
  std::vector<uint8_t> finish();

  // Once, after finish(), if it was asked for.
  Trace take_trace();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
  bool finished_ = false;
  std::mutex busy_;
};

}  // namespace nncodec
