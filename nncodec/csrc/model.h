// A model's integer weights in the layout that the kernels read.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace nncodec {

// Begins at a cache line, so that no vector load of a packed matrix touches two.
template <class T>
struct CacheLineAllocator {
  using value_type = T;
  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t{64}); }
  bool operator==(const CacheLineAllocator&) const { return true; }
};

template <class T>
using Buffer = std::vector<T, CacheLineAllocator<T>>;

constexpr int round_up(int n, int step) { return (n + step - 1) / step * step; }

// (out, in) int8 weights as [out / 16][in / 4][16][4], zero-padded: 64 bytes hold four inputs of
// sixteen outputs, the unit of the 8-bit dot-product instructions. Activations come as unsigned
// code + 128, so a product carries 128 * sum(row) too much: `bias`, -128 * sum(row), takes that back.
struct Matrix {
  int out = 0, in = 0;
  Buffer<int8_t> packed;
  Buffer<int32_t> bias;
  Buffer<float> scale;

  int padded_out() const { return round_up(out, 16); }
  int padded_in() const { return round_up(in, 64); }  // one tile, or one vector, of inputs

  Matrix() = default;
  Matrix(const int8_t* weight, const float* scales, int rows, int columns)
      : out(rows), in(columns) {
    const int quads = padded_in() / 4;
    packed.assign(static_cast<std::size_t>(padded_out()) * padded_in(), 0);
    bias.assign(padded_out(), 0);
    scale.assign(padded_out(), 0.0f);
    for (int o = 0; o < out; ++o) {
      scale[o] = scales[o];
      for (int i = 0; i < in; ++i) {
        const int8_t w = weight[static_cast<std::size_t>(o) * in + i];
        packed[((static_cast<std::size_t>(o / 16) * quads + i / 4) * 16 + o % 16) * 4 + i % 4] = w;
        bias[o] -= 128 * w;
      }
    }
  }
};

// What layers of models over tokens have beyond those of models over bytes (see causal.inl). Padded
// with zeros to whole vectors, or empty where a model has no such thing.
struct CausalLayer {
  Buffer<float> attention_balance, mlp_balance;  // d_model
  Buffer<float> bias;                            // of the product with qkv
  Buffer<float> q_norm, k_norm;                  // head_dim
};

// `up` of a model over tokens has the gate's d_ff rows first, padded to whole blocks of 16.
struct Layer {
  Matrix qkv, out, up, down;
  std::vector<float> gain;
  int window = 0;
  CausalLayer causal = {};
};

// The most tokens that an n-gram has; a row carries as many of its past.
constexpr int kMaxOrder = 8;
constexpr int kBeginOfBlock = 256;

// Tables of rows of `width` codes, 2^bits for every order, and the matrix that they go through.
struct Ngrams {
  std::vector<int32_t> orders;
  int bits = 0, width = 0;
  Buffer<int8_t> table;
  Matrix proj;

  // How many of a row's tokens are read: its own, and those of the longest n-gram.
  int reach() const {
    int most = 1;
    for (int order : orders) most = order > most ? order : most;
    return most;
  }
};

struct Model {
  int d_model = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, d_ff = 0, rope_period = 0;
  std::vector<int32_t> turns;  // head_dim / 2 rotary frequencies, turns a period
  std::vector<float> cos, sin;  // rope_period
  std::vector<int8_t> embed;    // (257, d_model), or (vocabulary, d_model)
  std::vector<float> embed_scale;
  Ngrams ngrams;
  std::vector<Layer> layers;
  Matrix head;

  // Of models over tokens alone; the others have a vocabulary of 0.
  int vocabulary = 0;
  int attention_one = 255;          // the weight of the strongest key
  float eps = 0, head_eps = 0;      // d_model and head_dim times epsilon
  Buffer<float> head_balance;

  bool causal() const { return vocabulary > 0; }
};

// Rows of one lane that may be in flight at once, where a state is made for many: a ring must keep
// the whole windows of all of them.
constexpr int kMaxSteps = 16;

// Keys and values of one layer for some lanes: a ring of `capacity` positions.
//   keys    [lane][g][capacity / 16][channels / 4][16][4]   key_bias, key_scales [lane][g][capacity]
//   values  [lane][g][capacity / 4][channels][4]
struct Cache {
  int window = 0, capacity = 0, channels = 0, kv_heads = 0;
  Buffer<int8_t> keys, values;
  Buffer<int32_t> key_bias;
  Buffer<float> key_scales;

  Cache(const Model& model, int window_, int steps)
      : window(window_),
        capacity(round_up(window_ + steps - 1, 16)),
        channels(round_up(model.head_dim, 16)),
        kv_heads(model.n_kv_heads) {
    resize(1);
  }

  std::size_t slots() const { return static_cast<std::size_t>(kv_heads) * capacity; }

  // Gives `lanes` lanes the past of the one there is.
  void fork(int lanes) {
    resize(lanes);
    const auto repeat = [lanes](auto& values) {
      const std::size_t one = values.size() / lanes;
      for (int i = 1; i < lanes; ++i) {
        std::copy_n(values.begin(), one, values.begin() + static_cast<std::ptrdiff_t>(i * one));
      }
    };
    repeat(keys);
    repeat(values);
    repeat(key_bias);
    repeat(key_scales);
  }

 private:
  void resize(int lanes) {
    keys.resize(lanes * slots() * channels);
    values.resize(lanes * slots() * channels);
    key_bias.resize(lanes * slots());
    key_scales.resize(lanes * slots());
  }
};

using Recent = std::array<int32_t, kMaxOrder>;

// One position of one lane: what goes in, and where its 256 counts go. `tokens` are its own token and
// the ones before it, the newest first, as far as the model's n-grams reach; before the first there are
// marks. With models over tokens the counts go to `wide`, as many as the head has outputs; the rows of
// one call want counts all or none.
struct Row {
  int lane = 0;
  Recent tokens{};
  int64_t position = 0;
  int32_t* counts = nullptr;
  uint32_t* wide = nullptr;
};

constexpr int kMaxRows = 32;

// What a byte's time goes to.
enum Stage { kProducts, kAttention, kNorms, kCounts, kCoding, kStages };

// Buffers of one thread, reused from step to step.
struct Scratch {
  explicit Scratch(const Model& m);
  int width, wide, outputs, channels, slots;  // wide: of codes; outputs: of sums
  Buffer<float> x, wide_f, norm, cos, sin, weights_f, q_scale;
  Buffer<uint8_t> codes, queries, weights, weights_low;
  Buffer<int32_t> acc, scores, visible;
  Buffer<int16_t> shorts;  // codes and weights widened, where the kernels want that
  bool timed = false;
  int64_t ns[kStages] = {};
};

// Monotonic time; out of line, so that no copy of it is compiled with an instruction set's flags.
int64_t now_ns();

// Inputs of a logistic mixer, padded to whole vectors, and the bound of its weights (2^-16 each).
constexpr int kMixInputs = 48;
constexpr int kContexts = 16;  // context models, two inputs each
constexpr int kNibbleInputs = 16;  // of tensors: fifteen contexts and a constant
constexpr int32_t kMixWeightMax = (1 << 19) - 1;

// What is compiled once per instruction set, from forward.inl and mixing_kernels.inl.
struct Kernels {
  const char* isa;
  // Runs up to kMaxRows rows through the model.
  void (*forward)(const Model&, std::vector<Cache>&, Scratch&, const Row*, int);
  // acc[r][o] = sum_i code[r][i] * weight[o][i] for n rows of codes (as code + 128), `stride` and
  // `acc_stride` elements apart, with room for kMaxRows of them.
  void (*multiply)(const uint8_t* codes, int stride, const Matrix&, int32_t* acc, int acc_stride, int n,
                   Scratch&);
  // The instruction that multiplies, `rounds` times over without loads or stores; returns how many
  // products that were. The bound that multiply() is measured against.
  int64_t (*bare_products)(int64_t rounds);
  // See mixing_kernels.inl.
  void (*mix_dot)(const int32_t* x, const int32_t* const* weights, int sets, int32_t* logits);
  void (*mix_train)(const int32_t* x, int32_t* const* weights, int sets, const int32_t* errors);
  void (*read_histories)(const uint32_t* learners, int32_t* x);
  void (*learn_histories)(uint32_t* learners, int bit, int limit);
  void (*read_nibble)(uint32_t* const* lines, int node, const int32_t* const* weights,
                      uint32_t* learners, int32_t* x, int32_t* logits);
  void (*learn_nibble)(uint32_t* const* lines, int node, const uint32_t* learners, const int32_t* x,
                       int32_t* const* weights, const int32_t* errors, int bit, int limit);
};

namespace portable {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace amx {
extern const Kernels kernels;
}
namespace neon {
extern const Kernels kernels;
}

}  // namespace nncodec
