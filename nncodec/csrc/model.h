// A model's integer weights in the layout that the kernels read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nncodec {

constexpr int round_up(int n, int step) { return (n + step - 1) / step * step; }

// (out, in) int8 weights as [out / 16][in / 4][16][4], zero-padded: 64 bytes hold four inputs of
// sixteen outputs, the unit of the 8-bit dot-product instructions. Activations come as unsigned
// code + 128, so a product carries 128 * sum(row) too much: `sums` takes that back.
struct Matrix {
  int out = 0, in = 0;
  std::vector<int8_t> packed;
  std::vector<int32_t> sums;
  std::vector<float> scale;

  int padded_out() const { return round_up(out, 16); }
  int padded_in() const { return round_up(in, 4); }

  Matrix() = default;
  Matrix(const int8_t* weight, const float* scales, int rows, int columns)
      : out(rows), in(columns) {
    const int quads = padded_in() / 4;
    packed.assign(static_cast<std::size_t>(padded_out()) * padded_in(), 0);
    sums.assign(padded_out(), 0);
    scale.assign(padded_out(), 0.0f);
    for (int o = 0; o < out; ++o) {
      scale[o] = scales[o];
      for (int i = 0; i < in; ++i) {
        const int8_t w = weight[static_cast<std::size_t>(o) * in + i];
        packed[((static_cast<std::size_t>(o / 16) * quads + i / 4) * 16 + o % 16) * 4 + i % 4] = w;
        sums[o] += w;
      }
    }
  }
};

struct Layer {
  Matrix qkv, out, up, down;
  std::vector<float> gain;
  int window = 0;
};

struct Model {
  int d_model = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, d_ff = 0, rope_period = 0;
  std::vector<int32_t> turns;  // head_dim / 2 rotary frequencies, turns a period
  std::vector<float> cos, sin;  // rope_period
  std::vector<int8_t> embed;    // (257, d_model)
  std::vector<float> embed_scale;
  std::vector<Layer> layers;
  Matrix head;
};

// Rows of one lane that may be in flight at once: the cache must keep their whole windows.
constexpr int kMaxSteps = 16;

// Keys and values of one layer for some lanes: a ring of `capacity` positions. Ring order is free,
// because maxima and integer sums do not depend on order.
//   keys    [lane][g][capacity / 16][channels / 4][16][4]   key_sums, key_scales [lane][g][capacity]
//   values  [lane][g][capacity / 4][channels][4]
struct Cache {
  int window = 0, capacity = 0, channels = 0, kv_heads = 0;
  std::vector<int8_t> keys, values;
  std::vector<int32_t> key_sums;
  std::vector<float> key_scales;

  Cache(const Model& model, int window_)
      : window(window_),
        capacity(round_up(window_ + kMaxSteps - 1, 16)),
        channels(round_up(model.head_dim, 16)),
        kv_heads(model.n_kv_heads) {
    resize(1);
  }

  std::size_t slots() const { return static_cast<std::size_t>(kv_heads) * capacity; }

  void resize(int lanes) {
    keys.resize(lanes * slots() * channels);
    values.resize(lanes * slots() * channels);
    key_sums.resize(lanes * slots());
    key_scales.resize(lanes * slots());
  }
};

// One position of one lane: what goes in, and where its 256 counts go.
struct Row {
  int lane = 0, token = 0;
  int64_t position = 0;
  int32_t* counts = nullptr;
};

constexpr int kMaxRows = 32;

// Buffers of one thread, reused from step to step.
struct Scratch {
  explicit Scratch(const Model& m);
  int width, wide, channels, slots;
  std::vector<float> x, wide_f, norm, cos, sin, weights_f, q_scale;
  std::vector<uint8_t> codes, queries, weights;
  std::vector<int32_t> acc, scores;
};

// Runs up to kMaxRows rows through the model; one build of forward.inl per instruction set.
using Forward = void (*)(const Model&, std::vector<Cache>&, Scratch&, const Row*, int);

namespace portable {
void forward(const Model&, std::vector<Cache>&, Scratch&, const Row*, int);
}
namespace avx2 {
void forward(const Model&, std::vector<Cache>&, Scratch&, const Row*, int);
}
namespace avx512 {
void forward(const Model&, std::vector<Cache>&, Scratch&, const Row*, int);
}

}  // namespace nncodec
