// Blocks through a coder and back, with an engine or without: what both targets do.
#pragma once

#include "../../nncodec/csrc/block_coder.h"
#include "fuzz.h"

namespace fuzz {

// Runs in pieces, as callers do.
inline Bytes run_block(nncodec::Engine* engine, const nncodec::Geometry& g, int table_bits, bool decode,
                       const Bytes& input, const std::string& isa, int64_t piece) {
  using Direction = nncodec::BlockCoder::Direction;
  nncodec::BlockCoder coder(engine, g, table_bits, decode ? Direction::kDecode : Direction::kEncode,
                            input.data(), input.size(), isa);
  for (int64_t done = 0; done < g.size;) {
    const int64_t now = coder.run(piece);
    require(now > done && now <= g.size, "run() gets on");
    done = now;
  }
  return coder.finish();
}

// `writer` and `reader` are the same model on other kernels, or null: then `isas` says which kernels.
inline void try_block(Input& in, nncodec::Engine* writer, nncodec::Engine* reader, int most) {
  const int way = in.byte() % 4;
  const std::string isas[] = {writer ? "" : isa(in), writer ? "" : isa(in)};
  const int table_bits = (writer && in.byte() % 3 == 0) ? 0 : 10 + in.byte() % 3;
  nncodec::Geometry g{in.below(most), 1, 0};
  const int64_t piece = 1 + in.byte();
  if (writer) g.lanes = 1 + in.byte() % 40, g.prefix = in.byte();
  if (way == 3 && in.byte() == 77) {  // geometries that make no sense
    g = {static_cast<int64_t>(in.number(8)), static_cast<int>(in.number(4)), static_cast<int64_t>(in.number(8))};
    if (g.makes_sense() && g.size > most) return;
  }
  if (way == 0) {
    const Bytes payload = in.rest();
    const bool no = senseless([&] {
      refused([&] { run_block(reader, g, table_bits, true, payload, isas[1], piece); });
    });
    require(!(no && g.makes_sense() && (reader || g.lanes == 1)), "a geometry of sense is taken");
    return;
  }
  Input edits = in;
  if (way == 1) in.bytes(16);
  Bytes block = in.bytes(static_cast<std::size_t>(std::max<int64_t>(0, std::min<int64_t>(g.size, most))));
  block.resize(static_cast<std::size_t>(std::max<int64_t>(0, std::min<int64_t>(g.size, most))));
  Bytes whole;
  if (senseless([&] { whole = run_block(writer, g, table_bits, false, block, isas[0], piece); })) {
    require(!g.makes_sense() || (!writer && (g.lanes > 1 || g.prefix > 0)), "a geometry of sense is taken");
    return;
  }
  const Bytes payload = way == 1 ? damaged(whole, edits) : whole;
  Bytes back;
  const bool no = refused([&] { back = run_block(reader, g, table_bits, true, payload, isas[1], piece); });
  require(payload != whole || (!no && back == block), "a block comes back");
}

}  // namespace fuzz
