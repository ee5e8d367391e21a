// The native engine under sanitizers: random models of awkward shapes, every instruction set of this
// machine, parallel against stepwise, threads, fork, blocks coded by one and decoded by another, with
// and without context mixing, by context models alone, and by counts from outside. No Python: what is wrong here is wrong in
// C++. AMX runs on emulated tiles where built so.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../../nncodec/csrc/block_coder.h"
#include "../../nncodec/csrc/delta_coder.h"
#include "../../nncodec/csrc/engine.h"
#include "../../nncodec/csrc/field_coder.h"
#include "../../nncodec/csrc/mixed_coder.h"
#include "../../nncodec/csrc/range_coder.h"
#include "../../nncodec/csrc/tensor_coder.h"
#include "../../nncodec/csrc/trellis_states.h"
#include "models.h"

using namespace nncodec;
using models::draw;
using models::random_matrix;
using models::random_model;

namespace {

// Counts of `lanes` lanes over `steps` positions, given in pieces of `stride`, after a shared token.
std::vector<int32_t> run(const Model& model, const char* isa, int threads, int lanes, int steps,
                         int stride, const std::vector<int32_t>& tokens) {
  Engine engine(model, threads, isa);
  State state(engine);
  const int32_t mark = 256;
  std::vector<int32_t> first(256), all(static_cast<std::size_t>(lanes) * steps * 256);
  state.advance(&mark, 1, 1, first.data());
  state.fork(lanes);
  for (int at = 0; at < steps; at += stride) {
    const int n = stride < steps - at ? stride : steps - at;
    std::vector<int32_t> piece, counts(static_cast<std::size_t>(lanes) * n * 256);
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < n; ++i) piece.push_back(tokens[static_cast<std::size_t>(lane) * steps + at + i]);
    }
    state.advance(piece.data(), lanes, n, counts.data());
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < n * 256; ++i) {
        all[(static_cast<std::size_t>(lane) * steps + at) * 256 + i] =
            counts[static_cast<std::size_t>(lane) * n * 256 + i];
      }
    }
  }
  return all;
}

Buffer<float> random_floats(int n, float low) {
  Buffer<float> values(static_cast<std::size_t>(round_up(n, 16)));
  for (int i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = low + static_cast<float>(draw(0, 999)) * 0x1p-9f;
  return values;
}

// A model over tokens, with whatever such models may have.
Model random_causal(int d_model, int kv_heads, int group, int head_dim, int d_ff, int context, int symbols,
                    bool biased, bool normed) {
  Model m = random_model(d_model, kv_heads, group, head_dim, d_ff, {context, context});
  m.vocabulary = symbols + 3;
  m.attention_one = std::min(65535, (1 << 24) / context - 1);
  m.eps = 0.001f;
  m.head_eps = 0.0001f;
  m.embed.resize(static_cast<std::size_t>(m.vocabulary) * d_model);
  for (int8_t& code : m.embed) code = static_cast<int8_t>(draw(-127, 127));
  m.embed_scale.assign(static_cast<std::size_t>(m.vocabulary), 0x1p-7f);
  m.head = random_matrix(symbols, d_model);
  m.head_balance = random_floats(d_model, 0.5f);
  for (Layer& layer : m.layers) {
    layer.up = random_matrix(2 * round_up(d_ff, 16), d_model);
    for (int row = d_ff; row < layer.up.out; ++row) {
      if (row % round_up(d_ff, 16) >= d_ff) layer.up.scale[static_cast<std::size_t>(row)] = 0.0f;
    }
    layer.causal.attention_balance = random_floats(d_model, 0.5f);
    layer.causal.mlp_balance = random_floats(d_model, 0.5f);
    if (biased) layer.causal.bias = random_floats(layer.qkv.out, -1.0f);
    if (normed) {
      layer.causal.q_norm = random_floats(head_dim, 0.5f);
      layer.causal.k_norm = random_floats(head_dim, -0.5f);
    }
  }
  return m;
}

// Its counts over `steps` positions in pieces of `stride`; all of them, or those behind each piece's last.
std::vector<uint32_t> run_causal(const Model& model, const std::string& isa, int threads, int lanes, int steps,
                                 int stride, bool last, const std::vector<int32_t>& tokens) {
  Engine engine(model, threads, isa);
  State state(engine);
  const int32_t begin = 1;
  const auto outputs = static_cast<std::size_t>(model.head.out);
  state.advance_wide(&begin, 1, 1, 0, nullptr);
  state.fork(lanes);
  std::vector<uint32_t> all(static_cast<std::size_t>(lanes) * steps * outputs);
  for (int at = 0; at < steps; at += stride) {
    const int n = std::min(stride, steps - at), wanted = last ? 1 : n;
    std::vector<int32_t> piece;
    std::vector<uint32_t> counts(static_cast<std::size_t>(lanes) * wanted * outputs);
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < n; ++i) piece.push_back(tokens[static_cast<std::size_t>(lane) * steps + at + i]);
    }
    state.advance_wide(piece.data(), lanes, n, wanted, counts.data());
    for (int lane = 0; lane < lanes; ++lane) {
      const auto to = (static_cast<std::size_t>(lane) * steps + at + n - wanted) * outputs;
      std::copy_n(counts.data() + static_cast<std::size_t>(lane) * wanted * outputs, wanted * outputs,
                  all.data() + to);
    }
  }
  try {
    std::vector<int32_t> more(static_cast<std::size_t>(lanes) * model.layers[0].window, 0);
    state.advance_wide(more.data(), lanes, model.layers[0].window, 0, nullptr);
    return {};
  } catch (const std::invalid_argument&) {  // the context is full
  }
  return all;
}

bool tokens_agree(const Model& model) {
  const auto outputs = static_cast<std::size_t>(model.head.out);
  for (int lanes : {1, 3, 17, 40}) {
    const int steps = lanes > 10 ? 9 : model.layers[0].window - 1;
    std::vector<int32_t> tokens(static_cast<std::size_t>(lanes) * steps);
    for (int32_t& t : tokens) t = draw(0, model.vocabulary - 1);
    const auto want = run_causal(model, "portable", 1, lanes, steps, steps, false, tokens);
    if (want.empty()) return false;
    for (std::size_t row = 0; row < want.size(); row += outputs) {
      uint64_t sum = 0;
      for (std::size_t i = 0; i < outputs; ++i) sum += want[row + i];
      if (sum != uint64_t{1} << 32) return false;
    }
    for (const std::string& isa : available_isas()) {
      for (int threads : {1, 2}) {
        for (int stride : {1, 7, steps}) {
          if (run_causal(model, isa, threads, lanes, steps, stride, false, tokens) != want) return false;
          const auto few = run_causal(model, isa, threads, lanes, steps, stride, true, tokens);
          for (std::size_t i = 0; i < few.size(); ++i) {
            const int step = static_cast<int>(i / outputs) % steps;
            const bool asked = step == steps - 1 || step % stride == stride - 1;
            if (few[i] != (asked ? want[i] : 0)) return false;
          }
        }
      }
    }
  }
  return true;
}

using Direction = BlockCoder::Direction;

std::vector<uint8_t> code(Engine* engine, const Geometry& g, int table_bits, Direction direction,
                          const std::vector<uint8_t>& input, int64_t piece) {
  BlockCoder coder(engine, g, table_bits, direction, input.data(), input.size());
  for (int64_t done = 0; done < g.size;) {
    const int64_t now = coder.run(piece);
    if (now <= done || now > g.size) throw std::logic_error("run() makes no sense of its progress");
    done = now;
  }
  return coder.finish();
}

// Noise, one byte, or words and lines that come again and again: what each lane matches then lies in
// other lanes, behind them and ahead.
std::vector<uint8_t> random_block(int64_t size) {
  std::vector<uint8_t> block(static_cast<std::size_t>(size));
  const int kind = draw(0, 2), period = draw(6, 40);
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool again = kind == 2 && i >= static_cast<std::size_t>(period) && draw(0, 40) > 0;
    block[i] = again       ? block[i - static_cast<std::size_t>(period)]
               : kind == 1 ? 'z'
                           : static_cast<uint8_t>(draw(0, 9) ? draw(0, 255) : '\n');
  }
  return block;
}

// What one of these engines writes, all read, whatever the threads and the pieces. A null engine is
// context models alone.
bool block_travels(const std::vector<Engine*>& engines, const Geometry& g, int table_bits) {
  const std::vector<uint8_t> block = random_block(g.size);
  const auto payload = code(engines[0], g, table_bits, Direction::kEncode, block, 1 << 20);
  for (Engine* engine : engines) {
    if (code(engine, g, table_bits, Direction::kEncode, block, 30) != payload) return false;
    if (code(engine, g, table_bits, Direction::kDecode, payload, 50) != block) return false;
    std::vector<uint8_t> damaged = payload;
    const int at = draw(0, static_cast<int>(payload.size()) - 1);
    damaged[static_cast<std::size_t>(at)] ^= 64;
    try {
      const auto got = code(engine, g, table_bits, Direction::kDecode, damaged, 50);
      // The last byte may hold bits below the coded interval's precision.
      const bool harmless = at + 1 == static_cast<int>(payload.size());
      if (!harmless && got == block) return false;
    } catch (const PayloadError&) {
    }
  }
  return true;
}

bool blocks_travel(const Model& model) {
  std::vector<std::unique_ptr<Engine>> owned;
  std::vector<Engine*> engines;
  for (const std::string& isa : available_isas()) {
    for (int threads : {1, 3}) {
      owned.push_back(std::make_unique<Engine>(model, threads, isa));
      engines.push_back(owned.back().get());
    }
  }
  for (const Geometry& g : {Geometry{0, 1, 0}, Geometry{1, 1, 0}, Geometry{90, 1, 40},
                            Geometry{5, 2, 0}, Geometry{211, 7, 0}, Geometry{500, 64, 13},
                            Geometry{131, 100, 31}}) {
    // Mixers take long to make under sanitizers: a larger one for one geometry is enough.
    for (int table_bits : {0, 10, 12}) {
      if (table_bits == 12 && g.lanes != 64) continue;
      if (!block_travels(engines, g, table_bits)) return false;
    }
  }
  for (int64_t size : {0, 1, 90, 3000}) {
    if (!block_travels({nullptr}, {size, 1, 0}, 10)) return false;
  }
  return true;
}

// Counts that come from outside, in pieces for the encoder and a step at a time for the decoder: the bytes
// come back, damage does no more than throw, and what makes no sense is refused.
bool outside_counts_travel(const Geometry& g, Network network) {
  const std::vector<uint8_t> block = random_block(g.size);
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < g.size; ++i) {
    const int sure = draw(0, 255);
    for (int s = 0; s < 256; ++s) rows.push_back(s == sure ? (1 << 24) - 255 * 7 : 7);
  }
  std::vector<uint8_t> order;  // in which the bytes are coded
  for (LanePart part : {LanePart{0, g.prefix, 1}, LanePart{g.prefix, g.size - g.prefix, g.lanes}}) {
    for (int64_t step = 0; step < part.steps(); ++step) {
      for (int lane = 0; lane < part.active(step); ++lane) {
        order.push_back(block[static_cast<std::size_t>(part.at(lane, step))]);
      }
    }
  }
  MixedCoder<Encode> encoder(g, 10, network, "");
  std::vector<uint32_t> cost(order.size());
  for (std::size_t at = 0; at < order.size();) {
    const auto n = std::min(order.size() - at, static_cast<std::size_t>(draw(1, 90)));
    encoder.code(rows.data() + at * 256, order.data() + at, n, cost.data() + at);
    at += n;
  }
  try {
    uint8_t symbol = 0;
    encoder.code(std::vector<int32_t>(256, 1 << 16).data(), &symbol, 1);
    return false;  // more than the block has
  } catch (const std::invalid_argument&) {
  }
  const std::vector<uint8_t> payload = encoder.finish();
  double bits = 0;
  for (uint32_t c : cost) bits += c / 16777216.0;
  if (static_cast<double>(payload.size()) * 8 > bits + 16) return false;
  for (const std::string& isa : available_isas()) {
    MixedCoder<Decode> decoder(g, 10, network, isa, payload.data(), payload.size());
    std::vector<uint8_t> got(order.size());
    for (std::size_t at = 0; at < got.size(); ++at) decoder.code(rows.data() + at * 256, &got[at], 1);
    decoder.finish();
    if (got != order) return false;
  }
  std::vector<uint8_t> broken = payload;
  broken[static_cast<std::size_t>(draw(0, static_cast<int>(broken.size()) - 1))] ^= 64;
  broken.resize(broken.size() - static_cast<std::size_t>(draw(0, static_cast<int>(broken.size()) - 1)));
  try {
    MixedCoder<Decode> decoder(g, 10, network, "", broken.data(), broken.size());
    std::vector<uint8_t> got(order.size());
    decoder.code(rows.data(), got.data(), got.size());
    decoder.finish();
  } catch (const PayloadError&) {
  }
  return true;
}

bool bad_outside_counts_are_refused() {
  std::vector<int32_t> rows(512, 1 << 16);
  rows[300] = 0;
  MixedCoder<Encode> encoder({9, 2, 1}, 10, Network::kLearning, "portable");
  uint8_t symbols[2] = {1, 2};
  try {
    encoder.code(rows.data(), symbols, 2);
    return false;
  } catch (const std::invalid_argument&) {
  }
  if (encoder.done() != 0) return false;
  for (const Geometry& g : {Geometry{-1, 1, 0}, Geometry{4, 5, 0}, Geometry{4, 0, 0}, Geometry{4, 1, 5}}) {
    try {
      MixedCoder<Encode> none(g, 10, Network::kTrained, "portable");
      return false;
    } catch (const std::invalid_argument&) {
    }
  }
  return true;
}

std::size_t total_bytes(const std::vector<TensorItem>& items) {
  std::size_t size = 0;
  for (const TensorItem& item : items) size += static_cast<std::size_t>(item_bytes(item));
  return size;
}

// The same payload by every instruction set, the same bytes back, and damage that does no more than
// throw.
bool chunk_travels(const std::vector<TensorItem>& items, const std::vector<uint8_t>& chunk) {
  const std::vector<uint8_t> payload = encode_tensors(items, chunk.data(), chunk.size(), "portable");
  for (const std::string& isa : available_isas()) {
    if (encode_tensors(items, chunk.data(), chunk.size(), isa) != payload) return false;
    if (decode_tensors(items, payload.data(), payload.size(), isa) != chunk) return false;
  }
  for (int i = 0; i < 20; ++i) {
    std::vector<uint8_t> broken = payload;
    const int most = static_cast<int>(broken.size()) - 1;
    broken[static_cast<std::size_t>(draw(0, i % 2 ? most : std::min(most, 8)))] ^=
        static_cast<uint8_t>(draw(1, 255));
    broken.resize(broken.size() - static_cast<std::size_t>(draw(0, std::min(most, 3))));
    try {
      decode_tensors(items, broken.data(), broken.size(), "portable");
    } catch (const PayloadError&) {
    }
  }
  return true;
}

// Items that are seen as something else: packed codes with two's complement or an offset, small values,
// trellis indices, floats on a grid, and many zeros.
bool views_travel() {
  std::vector<uint8_t> packed(4096), small(1024), pruned(2048), integers(8192), floats;
  for (const int zero : {0, 8}) {
    const auto code = [zero] { return (draw(-3, 3) + draw(-4, 4) + zero) & 15; };
    for (uint8_t& byte : packed) byte = static_cast<uint8_t>(code() | code() << 4);
    if (!chunk_travels({{TensorKind::kUInt8, 1, 64, 64}}, packed)) return false;
    if (!chunk_travels({{TensorKind::kInt8, 1, 16, 256}}, packed)) return false;
  }
  for (uint8_t& byte : small) byte = static_cast<uint8_t>(draw(-8, 7));
  for (uint8_t& byte : pruned) byte = static_cast<uint8_t>(draw(0, 2) ? 0 : draw(-128, 127));
  for (int row = 0; row < 16; ++row) {
    for (std::size_t col = 0, state = 0; col < 256; ++col) {
      const int k = draw(0, state & 1 ? 9 : 3) ? draw(-1, 1) : 2 * draw(-3, 3);
      const auto index = static_cast<uint16_t>(k);
      integers[(static_cast<std::size_t>(row) * 256 + col) * 2] = static_cast<uint8_t>(index);
      integers[(static_cast<std::size_t>(row) * 256 + col) * 2 + 1] = static_cast<uint8_t>(index >> 8);
      state = next_state(4, static_cast<uint32_t>(state), index & 1u);
    }
  }
  for (int i = 0; i < 8 * 64; ++i) {
    const float value = 0.37f * static_cast<float>(i / 64 + 1) * static_cast<float>(i % 64 ? draw(-30, 30) : 127);
    const auto bits = std::bit_cast<uint32_t>(value + 0.0f);
    for (int shift = 0; shift < 32; shift += 8) floats.push_back(static_cast<uint8_t>(bits >> shift));
  }
  return chunk_travels({{TensorKind::kInt8, 1, 32, 32}}, small) &&
         chunk_travels({{TensorKind::kInt8, 2, 32, 64}}, pruned) &&
         chunk_travels({{TensorKind::kBFloat16, 2, 16, 64}}, pruned) &&
         chunk_travels({{TensorKind::kInt16, 3, 16, 256}}, integers) &&
         chunk_travels({{TensorKind::kInt8, 3, 32, 256}}, integers) &&
         chunk_travels({{TensorKind::kFloat32, 4, 8, 64}}, floats) &&
         chunk_travels({{TensorKind::kFloat16, 4, 2, 512}}, floats);
}

// Tensors of every kind, with values from a few and from all.
bool tensors_travel() {
  const std::vector<TensorItem> items = {
      {TensorKind::kFloat32, 1, 7, 9},     {TensorKind::kBytes, 0, 1, 5},
      {TensorKind::kFloat16, 2, 5, 11},    {TensorKind::kBFloat16, 3, 1, 40},
      {TensorKind::kFloat8E4M3, 4, 9, 6},  {TensorKind::kFloat8E5M2, 5, 6, 1},
      {TensorKind::kInt8, 6, 8, 8},        {TensorKind::kUInt8, 7, 3, 20},
      {TensorKind::kInt16, 8, 5, 12},      {TensorKind::kQ4_0, 9, 2, 3},
      {TensorKind::kQ4_1, 9, 1, 2},        {TensorKind::kQ5_0, 9, 3, 1},
      {TensorKind::kQ5_1, 9, 2, 2},        {TensorKind::kQ8_0, 9, 2, 2},
      {TensorKind::kQ4_K, 9, 1, 2},        {TensorKind::kQ5_K, 9, 2, 1},
      {TensorKind::kQ6_K, 9, 1, 1},        {TensorKind::kFloat32, 255, 1, 1},
  };
  for (int most : {0, 3, 255}) {
    std::vector<uint8_t> chunk(total_bytes(items));
    for (uint8_t& byte : chunk) byte = static_cast<uint8_t>(draw(0, most));
    if (!chunk_travels(items, chunk)) return false;
  }
  if (!views_travel()) return false;
  for (const TensorItem& item : {TensorItem{TensorKind::kInt8, 0, 0, 4},
                                 TensorItem{TensorKind::kFloat32, 0, kMaxChunk, kMaxChunk},
                                 TensorItem{TensorKind::kQ4_0, 0, kMaxChunk / 18, 2},
                                 TensorItem{TensorKind::kQ6_K, 0, 1, kMaxChunk / 209},
                                 TensorItem{static_cast<TensorKind>(99), 0, 1, 1}}) {
    try {
      item_bytes(item);
      return false;
    } catch (const std::invalid_argument&) {
    }
  }
  return true;
}

using Items = std::vector<TensorItem>;

std::vector<uint8_t> encoded_fields(const std::vector<TensorItem>& items, const std::vector<uint8_t>& chunk,
                                    const std::string& isa) {
  std::vector<uint8_t> payload;
  encode_fields(items, chunk.data(), chunk.size(), isa, [&](std::size_t size) {
    payload.resize(size);
    return payload.data();
  });
  return payload;
}

std::vector<uint8_t> decoded_fields(const Items& items, const std::vector<uint8_t>& payload,
                                    const std::string& isa) {
  std::vector<uint8_t> chunk(field_bytes(items));
  decode_fields(items, payload.data(), payload.size(), chunk.data(), isa);
  return chunk;
}

// The fast coder: rows of few and of many columns, repeated, constant, of noise; and damage.
bool fields_travel() {
  for (int round = 0; round < 12; ++round) {
    Items items;
    std::vector<uint8_t> chunk;
    for (int kind : {2, 0, 3, 4, 5, 6, 7, 8, 2, 4}) {
      const int cols = draw(0, 3) ? draw(1, 200) : draw(1, 6000);
      const TensorItem item = {static_cast<TensorKind>(kind), 0, draw(1, 30), cols};
      const auto bytes = static_cast<std::size_t>(item_bytes(item));
      const auto period = static_cast<std::size_t>(draw(0, 2) ? 1 << 30 : item_bytes(item) / item.rows);
      const int most = draw(0, 2) * 127 + 1, least = draw(0, 1) * 32;
      const std::size_t begin = chunk.size();
      for (std::size_t i = 0; i < bytes; ++i) {
        const int fresh = draw(0, i % 4 == 3 ? most : 255) | least;
        chunk.push_back(i < period ? static_cast<uint8_t>(fresh) : chunk[begin + i - period]);
      }
      items.push_back(item);
    }
    const std::vector<uint8_t> payload = encoded_fields(items, chunk, "portable");
    for (const std::string& isa : available_isas()) {
      if (encoded_fields(items, chunk, isa) != payload) return false;
      if (decoded_fields(items, payload, isa) != chunk) return false;
    }
    for (int i = 0; i < 60; ++i) {
      std::vector<uint8_t> broken = payload;
      const int last = static_cast<int>(broken.size()) - 1;
      const int at = draw(0, i % 2 ? std::min(200, last) : last);  // the plan is at the start
      broken[static_cast<std::size_t>(at)] ^= static_cast<uint8_t>(1 << draw(0, 7));
      broken.resize(broken.size() - static_cast<std::size_t>(draw(0, 3)));
      for (const std::string& isa : available_isas()) {
        try {
          decoded_fields(items, broken, isa);
        } catch (const PayloadError&) {
        }
      }
    }
  }
  return true;
}

// Numbers near those of a base, far from them, and any bits; payloads that are damaged, and any bytes.
bool deltas_travel() {
  const std::vector<DeltaItem> items = {
      {{TensorKind::kFloat32, 1, 27, 19}, DeltaMode::kMoved},   {{TensorKind::kBytes, 0, 1, 5}, DeltaMode::kGiven},
      {{TensorKind::kFloat16, 2, 5, 11}, DeltaMode::kMoved},    {{TensorKind::kBFloat16, 3, 40, 20}, DeltaMode::kMoved},
      {{TensorKind::kFloat8E4M3, 4, 9, 6}, DeltaMode::kMoved},  {{TensorKind::kFloat8E5M2, 5, 6, 1}, DeltaMode::kGiven},
      {{TensorKind::kBytes, 0, 1, 300}, DeltaMode::kEqual},     {{TensorKind::kInt8, 6, 18, 18}, DeltaMode::kMoved},
      {{TensorKind::kUInt8, 7, 3, 20}, DeltaMode::kGiven},      {{TensorKind::kFloat32, 255, 1, 1}, DeltaMode::kMoved},
  };
  std::size_t size = 0, equal = 0;
  for (const DeltaItem& item : items) {
    if (item.mode == DeltaMode::kEqual) equal = size;
    size += static_cast<std::size_t>(item_bytes(item.tensor));
  }
  for (int most : {0, 1, 9, 255}) {
    std::vector<uint8_t> base(size), chunk(size);
    for (uint8_t& byte : base) byte = static_cast<uint8_t>(draw(0, 255));
    for (std::size_t i = 0; i < size; ++i) {
      chunk[i] = i >= equal && i < equal + 300 ? base[i] : static_cast<uint8_t>(base[i] ^ draw(0, most));
    }
    const std::vector<uint8_t> payload = encode_deltas(items, base.data(), chunk.data(), size, "portable");
    for (const std::string& isa : available_isas()) {
      if (encode_deltas(items, base.data(), chunk.data(), size, isa) != payload) return false;
      if (decode_deltas(items, base.data(), size, payload.data(), payload.size(), isa) != chunk) return false;
    }
    for (int i = 0; i < 20; ++i) {
      std::vector<uint8_t> broken = payload;
      broken[static_cast<std::size_t>(draw(0, static_cast<int>(broken.size()) - 1))] ^= 0x55;
      if (i % 4 == 0) {
        for (uint8_t& byte : broken) byte = static_cast<uint8_t>(draw(0, 255));
      }
      broken.resize(broken.size() - static_cast<std::size_t>(draw(0, 3)));
      try {
        decode_deltas(items, base.data(), size, broken.data(), broken.size(), "portable");
      } catch (const PayloadError&) {
      }
    }
  }
  return true;
}

// Threads that share an engine get what each would get alone, both ways; counts of a state, too.
bool engines_are_shared(const Model& model) {
  constexpr int kThreads = 4;
  for (const std::string& isa : available_isas()) {
    Engine shared(model, 3, isa);
    std::vector<std::vector<uint8_t>> blocks, payloads;
    for (int i = 0; i < kThreads; ++i) {
      Engine alone(model, 1, isa);
      blocks.push_back(random_block(300 + i));
      payloads.push_back(code(&alone, {300 + i, 5, 7}, 10, Direction::kEncode, blocks.back(), 1 << 20));
    }
    const std::vector<int32_t> tokens(60, 'a');
    const std::vector<int32_t> counts = run(model, isa.c_str(), 1, 2, 30, 30, tokens);
    std::vector<char> right(2 * kThreads, 0);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      const auto at = static_cast<std::size_t>(i);
      threads.emplace_back([&, i, at] {
        const Geometry g{300 + i, 5, 7};
        const bool written = code(&shared, g, 10, Direction::kEncode, blocks[at], 40) == payloads[at];
        const bool read = code(&shared, g, 10, Direction::kDecode, payloads[at], 30) == blocks[at];
        const bool alone = code(nullptr, {300, 1, 0}, 10, Direction::kEncode,
                                {blocks[at].begin(), blocks[at].begin() + 300}, 50).size() > 0;
        right[at] = written && read && alone;
      });
      threads.emplace_back([&, at] {
        State state(shared);
        const int32_t mark = 256;
        std::vector<int32_t> got(256 * 60);
        state.advance(&mark, 1, 1, got.data());
        state.fork(2);
        bool refused = false;  // tokens of the one lane that there was
        try {
          state.advance(tokens.data(), 1, 30, got.data());
        } catch (const std::invalid_argument&) {
          refused = true;
        }
        state.advance(tokens.data(), 2, 30, got.data());
        right[kThreads + at] = refused && got == counts;
      });
    }
    for (std::thread& thread : threads) thread.join();
    if (!std::all_of(right.begin(), right.end(), [](char fine) { return fine != 0; })) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const bool only_shared = argc > 1 && std::string(argv[1]) == "shared";  // for the thread sanitizer
  if (argc > 1 && !only_shared) {  // an instruction set that must be among those tested
    bool found = false;
    for (const std::string& isa : available_isas()) found = found || isa == argv[1];
    if (!found) return std::printf("%s is not available\n", argv[1]), 1;
  }
  const Model models[] = {
      random_model(32, 1, 2, 16, 64, {4, 16}),
      random_model(30, 2, 1, 6, 50, {1, 33}, {2, 8, 1}),  // nothing is a multiple of 4 or 16
      random_model(64, 1, 3, 10, 70, {70}),
  };
  if (only_shared) {
    for (const Model& model : models) {
      if (!engines_are_shared(model)) return std::puts("a shared engine codes otherwise"), 1;
    }
    return std::puts("engine: shared by threads"), 0;
  }
  for (const Geometry& g : {Geometry{0, 1, 0}, Geometry{1, 1, 1}, Geometry{700, 1, 0}, Geometry{500, 64, 13},
                            Geometry{131, 7, 0}}) {
    for (Network network : {Network::kTrained, Network::kLearning}) {
      if (!outside_counts_travel(g, network)) return std::puts("counts from outside do not travel"), 1;
    }
  }
  if (!bad_outside_counts_are_refused()) return std::puts("bad counts are taken"), 1;
  for (const Model& model : {random_causal(32, 2, 2, 16, 48, 64, 83, false, false),
                             random_causal(37, 1, 6, 10, 71, 33, 300, true, true),
                             random_causal(16, 1, 1, 2, 8, 90, 17, false, true)}) {
    if (!tokens_agree(model)) return std::puts("counts of tokens differ"), 1;
  }
  if (!tensors_travel()) return std::puts("tensors do not travel"), 1;
  if (!fields_travel()) return std::puts("fields do not travel"), 1;
  if (!deltas_travel()) return std::puts("deltas do not travel"), 1;
  for (const Model& model : models) {
    if (!blocks_travel(model)) return std::puts("a block does not travel"), 1;
    if (!engines_are_shared(model)) return std::puts("a shared engine codes otherwise"), 1;
    for (int lanes : {1, 3, 17, 40}) {
      const int steps = lanes > 10 ? 9 : 150;
      std::vector<int32_t> tokens(static_cast<std::size_t>(lanes) * steps);
      for (int32_t& t : tokens) t = draw(0, 256);
      const std::vector<int32_t> want = run(model, "portable", 1, lanes, steps, steps, tokens);
      for (std::size_t row = 0; row < want.size(); row += 256) {
        int64_t sum = 0;
        for (int i = 0; i < 256; ++i) sum += want[row + i] > 0 ? want[row + i] : -(1 << 30);
        if (sum != 1 << 24) return std::printf("counts of row %zu sum to %lld\n", row / 256, static_cast<long long>(sum)), 1;
      }
      for (const std::string& isa : available_isas()) {
        for (int threads : {1, 2}) {
          for (int stride : {1, 7, steps}) {
            if (run(model, isa.c_str(), threads, lanes, steps, stride, tokens) != want) {
              std::printf("%s, %d threads, %d lanes, stride %d: other counts\n", isa.c_str(), threads,
                          lanes, stride);
              return 1;
            }
          }
        }
      }
    }
  }
  std::puts("engine: all paths agree");
  return 0;
}
