// The forward pass, compiled once per instruction set: forward_*.cc set NNCODEC_NAMESPACE, choose the
// products (dot_*.inl), and CMakeLists.txt sets the flags.
//
// Mirrors engine/reference.py line by line; every float operation is one binary32 rounding in the
// order written there (docs/FORMAT-network.md), every sum runs over integers. Only plain arrays and
// file-local functions here: an inline function of a header, compiled with AVX flags, could be the
// copy that the linker keeps for everyone.
#pragma once

#include "attention.inl"
#include "causal.inl"
#include "mixing_kernels.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

#if !defined(NNCODEC_TILES)
struct Tiles {};  // nothing to set up
#endif

// Charges the time since the last mark to a stage. Two clock reads a stage and a group of rows: little
// enough for a measurement, and none where nobody measures.
class Stopwatch {
 public:
  explicit Stopwatch(Scratch& scratch) : s_(scratch), last_(s_.timed ? now_ns() : 0) {}
  void charge(Stage stage) {
    if (!s_.timed) return;
    const int64_t now = now_ns();
    s_.ns[stage] += now - last_;
    last_ = now;
  }

 private:
  Scratch& s_;
  int64_t last_;
};

// The rows of one call on their way through the layers.
class Pass {
 public:
  Pass(const Model& model, std::vector<Cache>& caches, Scratch& scratch, const Row* rows, int n)
      : m_(model), caches_(caches), s_(scratch), rows_(rows), n_(n), watch_(scratch) {}

  void run() {
    const Tiles tiles;
    (void)tiles;
    embed();
    if (m_.causal()) return run_causal();
    if (!m_.ngrams.orders.empty()) add_ngrams();
    for (std::size_t l = 0; l < m_.layers.size(); ++l) {
      const Layer& layer = m_.layers[l];
      normalize_rows(layer.qkv);
      product(layer.qkv);
      store_keys_and_values(layer, caches_[l]);
      attention(layer, caches_[l]);
      product(layer.out);
      add_to_residual(layer.out);
      normalize_rows(layer.up);
      product(layer.up);
      square_relu(layer);
      product(layer.down);
      add_to_residual(layer.down);
    }
    normalize_rows(m_.head);
    product(m_.head);
    counts();
  }

 private:
  float* x(int r) { return s_.x.data() + static_cast<std::size_t>(r) * s_.width; }
  uint8_t* codes(int r) { return s_.codes.data() + static_cast<std::size_t>(r) * s_.wide; }
  int32_t* acc(int r) { return s_.acc.data() + static_cast<std::size_t>(r) * s_.outputs; }
  uint8_t* queries(int r) {
    return s_.queries.data() + static_cast<std::size_t>(r) * m_.n_heads * s_.channels;
  }

  NNCODEC_STAGE void embed() {
    const int D = m_.d_model, half = m_.head_dim / 2;
    for (int r = 0; r < n_; ++r) {
      const int token = rows_[r].tokens[0];
      const int8_t* e = m_.embed.data() + static_cast<std::size_t>(token) * D;
      const float step = m_.embed_scale[token];
      for (int d = 0; d < D; ++d) x(r)[d] = static_cast<float>(e[d]) * step;
      const int64_t t = rows_[r].position % m_.rope_period;
      for (int i = 0; i < half; ++i) {
        const int64_t angle = t * m_.turns[i] % m_.rope_period;
        s_.cos[r * half + i] = m_.cos[angle];
        s_.sin[r * half + i] = m_.sin[angle];
      }
    }
  }

  // Adds what the last tokens mean together: codes from the tables, one product. The rows lie anywhere
  // in some megabytes, so all are asked for before the first is read.
  NNCODEC_STAGE void add_ngrams() {
    const Ngrams& g = m_.ngrams;
    const int n = static_cast<int>(g.orders.size());
    const int8_t* found[kMaxRows][kMaxOrder];
    for (int r = 0; r < n_; ++r) {
      for (int k = 0; k < n; ++k) {
        const std::size_t row = (static_cast<std::size_t>(k) << g.bits) + ngram_row(rows_[r], g.orders[k]);
        found[r][k] = g.table.data() + row * g.width;
        __builtin_prefetch(found[r][k]);
      }
    }
    for (int r = 0; r < n_; ++r) {
      uint8_t* out = codes(r);
      for (int k = 0; k < n; ++k) {
        for (int i = 0; i < g.width; ++i) *out++ = static_cast<uint8_t>(found[r][k][i] + 128);
      }
      for (int i = n * g.width; i < g.proj.padded_in(); ++i) *out++ = 128;
      scale_[r] = 1.0f;
    }
    product(g.proj);
    add_to_residual(g.proj);
  }

  uint32_t ngram_row(const Row& row, int order) const {
    uint32_t h = static_cast<uint32_t>(order);
    for (int i = order - 1; i >= 0; --i) h = h * 0x2F0B4C47u + static_cast<uint32_t>(row.tokens[i]) + 1;
    h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
    return h >> (32 - m_.ngrams.bits);
  }

  NNCODEC_STAGE void normalize_rows(const Matrix& next) {
    for (int r = 0; r < n_; ++r) {
      scale_[r] = normalize(x(r), m_.d_model, next.padded_in(), codes(r));
    }
    watch_.charge(kNorms);
  }

  void product(const Matrix& m) {
    multiply(codes(0), s_.wide, m, acc(0), s_.outputs, n_, s_);
    watch_.charge(kProducts);
  }

  // Adds (codes x matrix) * scale * channel scale to the residual stream.
  NNCODEC_STAGE void add_to_residual(const Matrix& m) {
    for (int r = 0; r < n_; ++r) {
      const float row = scale_[r];
      for (int d = 0; d < m.padded_out(); d += kWidth) {
        const Floats y = (to_floats(load<Ints>(acc(r) + d)) * row) * load<Floats>(m.scale.data() + d);
        store(x(r) + d, load<Floats>(x(r) + d) + y);
      }
    }
  }

  NNCODEC_STAGE void store_keys_and_values(const Layer& layer, Cache& cache) {
    const int H = m_.n_heads, G = m_.n_kv_heads, C = m_.head_dim, half = C / 2;
    float* u = s_.wide_f.data();
    for (int r = 0; r < n_; ++r) {
      for (int i = 0; i < layer.qkv.padded_out(); i += kWidth) {
        store(u + i, to_floats(load<Ints>(acc(r) + i)) * load<Floats>(layer.qkv.scale.data() + i));
      }
      const float* cos = s_.cos.data() + static_cast<std::size_t>(r) * half;
      const float* sin = s_.sin.data() + static_cast<std::size_t>(r) * half;
      const int slot = static_cast<int>(rows_[r].position % cache.capacity);
      const std::size_t ring = static_cast<std::size_t>(rows_[r].lane) * G;
      for (int h = 0; h < H; ++h) {
        rotate(u + h * C, cos, sin, half, s_.norm.data());
        const float scale =
            normalize(s_.norm.data(), C, s_.channels, queries(r) + h * s_.channels);
        s_.q_scale[r * H + h] = scale * layer.gain[h];
      }
      for (int g = 0; g < G; ++g) {
        uint8_t key[256];  // the largest head_dim
        rotate(u + (H + g) * C, cos, sin, half, s_.norm.data());
        const float scale = normalize(s_.norm.data(), C, s_.channels, key);
        store_key(cache, ring + g, slot, key, scale);
        store_value(cache, ring + g, slot, u + (H + G + g) * C, scale_[r], C);
      }
    }
    watch_.charge(kNorms);
  }

  // How many slots of a ring are looked at.
  int slots(const Row& row, const Cache& cache) const {
    return m_.causal() ? round_up(static_cast<int>(row.position) + 1, 16) : cache.capacity;
  }

  NNCODEC_STAGE void attention(const Layer& layer, const Cache& cache) {
    const int H = m_.n_heads, G = m_.n_kv_heads, C = m_.head_dim;
    const auto attend_row = m_.causal() ? attend_heads<true> : attend_heads<false>;
    float* y = s_.wide_f.data();
    for (int i = H * C; i < round_up(H * C, 16); ++i) y[i] = 0.0f;
    for (int r = 0; r < n_; ++r) {
      const std::size_t ring = static_cast<std::size_t>(rows_[r].lane) * G;
      if (r + 1 < n_ && rows_[r + 1].lane != rows_[r].lane) {
        for (int g = 0; g < G; ++g) {
          const std::size_t next = static_cast<std::size_t>(rows_[r + 1].lane) * G + g;
          prefetch_ring(cache, next, slots(rows_[r + 1], cache));
        }
      }
      attend_row(m_, cache, ring, rows_[r].position, queries(r), s_.q_scale.data() + r * H, s_, y);
      scale_[r] = quantize(y, H * C, layer.out.padded_in(), codes(r), nullptr) / 127.0f;
    }
    watch_.charge(kAttention);
  }

  NNCODEC_STAGE void square_relu(const Layer& layer) {
    float* u = s_.wide_f.data();
    for (int r = 0; r < n_; ++r) {
      for (int i = 0; i < layer.up.padded_out(); i += kWidth) {
        Floats v = to_floats(load<Ints>(acc(r) + i)) * load<Floats>(layer.up.scale.data() + i);
        v = larger(v, Floats{});
        store(u + i, v * v);
      }
      float step = quantize(u, layer.up.out, layer.down.padded_in(), codes(r), nullptr) / 127.0f;
      step = step * scale_[r];
      scale_[r] = step * scale_[r];
    }
    watch_.charge(kNorms);
  }

  NNCODEC_STAGE void counts() {
    for (int r = 0; r < n_; ++r) {
      float z[256];
      for (int i = 0; i < 256; i += kWidth) {
        const Floats logit = to_floats(load<Ints>(acc(r) + i)) * scale_[r];
        store(z + i, logit * load<Floats>(m_.head.scale.data() + i));
      }
      counts_from_logits(z, rows_[r].counts);
    }
    watch_.charge(kCounts);
  }

  // Models over tokens from here on.

  NNCODEC_STAGE void run_causal() {
    for (std::size_t l = 0; l < m_.layers.size(); ++l) {
      const Layer& layer = m_.layers[l];
      normalize_balanced(layer.causal.attention_balance, layer.qkv);
      product(layer.qkv);
      store_rotated(layer, caches_[l]);
      attention(layer, caches_[l]);
      product(layer.out);
      add_to_residual(layer.out);
      normalize_balanced(layer.causal.mlp_balance, layer.up);
      product(layer.up);
      gate(layer);
      product(layer.down);
      add_to_residual(layer.down);
    }
    if (rows_[0].wide == nullptr) return;
    normalize_balanced(m_.head_balance, m_.head);
    product(m_.head);
    for (int r = 0; r < n_; ++r) {
      scaled(r, m_.head, 0, m_.head.padded_out(), s_.wide_f.data());
      wide_counts(s_.wide_f.data(), m_.head.out, acc(r), rows_[r].wide);
    }
    watch_.charge(kCounts);
  }

  // Sums begin .. end - 1 of a row as numbers.
  void scaled(int r, const Matrix& m, int begin, int end, float* to) {
    for (int i = begin; i < end; i += kWidth) {
      const Floats rows = to_floats(load<Ints>(acc(r) + i)) * scale_[r];
      store(to + i, rows * load<Floats>(m.scale.data() + i));
    }
  }

  NNCODEC_STAGE void normalize_balanced(const Buffer<float>& balance, const Matrix& next) {
    float* y = s_.wide_f.data();
    for (int r = 0; r < n_; ++r) {
      for (int i = 0; i < round_up(m_.d_model, 16); i += kWidth) {
        store(y + i, load<Floats>(x(r) + i) * load<Floats>(balance.data() + i));
      }
      const float step = quantize(y, m_.d_model, next.padded_in(), codes(r), nullptr) / 127.0f;
      scale_[r] = step * inverse_rms(x(r), m_.d_model, m_.eps);
    }
    watch_.charge(kNorms);
  }

  // A head, normalised if the model does that, and rotated: its codes; returns what one is worth.
  float rotated_codes(const float* u, const Buffer<float>& gain, const float* cos, const float* sin,
                      uint8_t* out) {
    const int C = m_.head_dim;
    float head[256] = {};  // the largest head_dim
    if (!gain.empty()) {
      __builtin_memcpy(head, u, static_cast<std::size_t>(C) * 4);
      const float inverse = inverse_rms(head, C, m_.head_eps);
      for (int i = 0; i < C; i += kWidth) {
        store(head + i, (load<Floats>(head + i) * inverse) * load<Floats>(gain.data() + i));
      }
      u = head;
    }
    rotate(u, cos, sin, C / 2, s_.norm.data());
    return quantize(s_.norm.data(), C, s_.channels, out, nullptr) / 127.0f;
  }

  NNCODEC_STAGE void store_rotated(const Layer& layer, Cache& cache) {
    const int H = m_.n_heads, G = m_.n_kv_heads, C = m_.head_dim, half = C / 2;
    float* u = s_.wide_f.data();
    for (int r = 0; r < n_; ++r) {
      scaled(r, layer.qkv, 0, layer.qkv.padded_out(), u);
      if (!layer.causal.bias.empty()) {
        for (int i = 0; i < layer.qkv.padded_out(); i += kWidth) {
          store(u + i, load<Floats>(u + i) + load<Floats>(layer.causal.bias.data() + i));
        }
      }
      const float* cos = s_.cos.data() + static_cast<std::size_t>(r) * half;
      const float* sin = s_.sin.data() + static_cast<std::size_t>(r) * half;
      const int slot = static_cast<int>(rows_[r].position % cache.capacity);
      const std::size_t ring = static_cast<std::size_t>(rows_[r].lane) * G;
      for (int h = 0; h < H; ++h) {
        uint8_t* const query = queries(r) + h * s_.channels;
        const float step = rotated_codes(u + h * C, layer.causal.q_norm, cos, sin, query);
        s_.q_scale[r * H + h] = step * layer.gain[h];
      }
      for (int g = 0; g < G; ++g) {
        uint8_t key[256];
        const float step = rotated_codes(u + (H + g) * C, layer.causal.k_norm, cos, sin, key);
        store_key(cache, ring + g, slot, key, step);
        store_value(cache, ring + g, slot, u + (H + G + g) * C, 1.0f, C);
      }
    }
    watch_.charge(kNorms);
  }

  NNCODEC_STAGE void gate(const Layer& layer) {
    float* h = s_.wide_f.data();
    const int padded = round_up(m_.d_ff, 16);  // the gate's rows
    for (int r = 0; r < n_; ++r) {
      scaled(r, layer.up, 0, layer.up.padded_out(), h);
      for (int i = 0; i < padded; i += kWidth) {
        store(h + i, clamp_activation(silu(load<Floats>(h + i)) * load<Floats>(h + padded + i)));
      }
      scale_[r] = quantize(h, m_.d_ff, layer.down.padded_in(), codes(r), nullptr) / 127.0f;
    }
    watch_.charge(kNorms);
  }

  const Model& m_;
  std::vector<Cache>& caches_;
  Scratch& s_;
  const Row* const rows_;
  const int n_;
  Stopwatch watch_;
  float scale_[kMaxRows];  // of each row's codes
};

void forward(const Model& m, std::vector<Cache>& caches, Scratch& s, const Row* rows, int n) {
  Pass(m, caches, s, rows, n).run();
}

void multiply_alone(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride,
                    int n, Scratch& s) {
  const Tiles tiles;
  (void)tiles;
  multiply(codes, stride, m, acc, acc_stride, n, s);
}

int64_t bare(int64_t rounds) {
  const Tiles tiles;
  (void)tiles;
  return bare_products(rounds);
}

#define NNCODEC_TEXT(name) #name
#define NNCODEC_NAME(name) NNCODEC_TEXT(name)

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {NNCODEC_NAME(NNCODEC_NAMESPACE), forward, multiply_alone, bare,
                         mix_dot, mix_train, read_histories, learn_histories,
                         read_nibble, learn_nibble};

}  // namespace nncodec::NNCODEC_NAMESPACE
