// The forward pass, compiled once per instruction set: forward_*.cc set NNCODEC_NAMESPACE and flags.
//
// Mirrors engine/reference.py line by line; every float operation is one binary32 rounding in the
// order written there (see docs/exactness.md), every sum runs over integers. Only plain arrays and
// file-local functions here: an inline function of a header, compiled with AVX flags, could be the
// copy that the linker keeps for everyone.
#include "dot_kernels.inl"
#include "model.h"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

static_assert(__FLT_EVAL_METHOD__ == 0, "every float operation must round to binary32");

constexpr float kScaleFloor = 0x1p-40f;
constexpr float kExponentFloor = -24.0f;
constexpr float kAttentionOne = 255.0f;
constexpr float kMassOne = 0x1p23f;
constexpr int64_t kTotal = int64_t{1} << 24;

// Round half to even for |x| < 2^22: the addition itself rounds, at the last integer digit.
inline float round_even(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

inline uint32_t bits_of(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  return u;
}

inline float float_of(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, 4);
  return x;
}

inline float exp2_exact(float x) {
  x = x > kExponentFloor ? x : kExponentFloor;
  const float whole = round_even(x);
  const float f = x - whole;
  float y = f * 0x1.c3f754p-5f;
  y = y + 0x1.f0de1ap-3f;
  y = y * f;
  y = y + 0x1.62f31ap-1f;
  y = y * f;
  y = y + 0x1.fff692p-1f;
  return y * float_of(static_cast<uint32_t>(static_cast<int32_t>(whole) + 127) << 23);
}

// Codes over n values by their absmax, stored as code + 128 and padded to `padded` with code 0.
// Returns the absmax; `squares` (if asked for) is the sum of the squared codes.
float quantize(const float* x, int n, int padded, uint8_t* codes, int32_t* squares) {
  uint32_t top_bits = bits_of(kScaleFloor);  // magnitudes order like their bits
  for (int i = 0; i < n; ++i) {
    const uint32_t b = bits_of(x[i]) & 0x7fffffffu;
    top_bits = b > top_bits ? b : top_bits;
  }
  const float top = float_of(top_bits);
  const float inverse = 127.0f / top;
  int32_t sum = 0;
  for (int i = 0; i < n; ++i) {
    const int32_t code = static_cast<int32_t>(round_even(x[i] * inverse));
    codes[i] = static_cast<uint8_t>(code + 128);
    sum += code * code;
  }
  for (int i = n; i < padded; ++i) codes[i] = 128;
  if (squares) *squares = sum > 0 ? sum : 1;
  return top;
}

// RMSNorm and quantisation in one; returns the scale of the codes.
float normalize(const float* x, int n, int padded, uint8_t* codes) {
  int32_t squares;
  quantize(x, n, padded, codes, &squares);
  return __builtin_sqrtf(static_cast<float>(n) / static_cast<float>(squares));
}

// Rotates one head by its position's angles: (a, b) -> (a cos - b sin, a sin + b cos).
void rotate(const float* u, const float* cos, const float* sin, int half, float* out) {
  for (int i = 0; i < half; ++i) {
    const float ac = u[i] * cos[i], bs = u[half + i] * sin[i];
    const float as = u[i] * sin[i], bc = u[half + i] * cos[i];
    out[i] = ac - bs;
    out[half + i] = as + bc;
  }
}

void store_key(Cache& cache, std::size_t ring, int slot, const uint8_t* codes, float scale) {
  int8_t* keys = cache.keys.data() + ring * cache.capacity * cache.channels +
                 static_cast<std::size_t>(slot / 16) * 16 * cache.channels;
  int32_t sum = 0;
  for (int c = 0; c < cache.channels; ++c) {
    const int code = codes[c] - 128;
    keys[(c / 4 * 16 + slot % 16) * 4 + c % 4] = static_cast<int8_t>(code);
    sum += code;
  }
  cache.key_sums[ring * cache.capacity + slot] = sum;
  cache.key_scales[ring * cache.capacity + slot] = scale;
}

void store_value(Cache& cache, std::size_t ring, int slot, const float* u, float scale, int n) {
  int8_t* values = cache.values.data() + ring * cache.capacity * cache.channels +
                   static_cast<std::size_t>(slot / 4) * 4 * cache.channels;
  for (int c = 0; c < n; ++c) {
    float v = u[c] * scale;
    v = v < -127.0f ? -127.0f : v;
    v = v > 127.0f ? 127.0f : v;
    values[4 * c + slot % 4] = static_cast<int8_t>(static_cast<int32_t>(round_even(v)));
  }
}

// One head of one row over its ring: y (head_dim) floats.
void attend(const Cache& cache, std::size_t ring, int64_t position, const uint8_t* query,
            float q_scale, Scratch& s, float* y, int head_dim) {
  const int capacity = cache.capacity;
  const std::size_t at = ring * capacity;
  score_keys(query, cache.keys.data() + at * cache.channels, cache.key_sums.data() + at, capacity,
             cache.channels, s.scores.data());
  const float* key_scales = cache.key_scales.data() + at;
  float* z = s.weights_f.data();
  const int32_t* scores = s.scores.data();
  for (int i = 0; i < capacity; ++i) {
    z[i] = (static_cast<float>(scores[i]) * key_scales[i]) * q_scale;
  }
  // Slots outside the window, or not filled yet: those whose age is not in [0, seen).
  const int seen = position + 1 < cache.window ? static_cast<int>(position + 1) : cache.window;
  const int newest = static_cast<int>(position % capacity);
  const int oldest = newest - seen + 1;  // below 0: the window wraps around
  const int from = newest + 1, to = oldest < 0 ? oldest + capacity : capacity;
  for (int i = from; i < to; ++i) z[i] = -__builtin_inff();
  for (int i = 0; i < oldest; ++i) z[i] = -__builtin_inff();
  float top = -__builtin_inff();
#pragma omp simd reduction(max : top)
  for (int i = 0; i < capacity; ++i) top = z[i] > top ? z[i] : top;
  int32_t total = 0;
  uint8_t* weights = s.weights.data();
  for (int i = 0; i < capacity; ++i) {
    const int32_t w = static_cast<int32_t>(round_even(exp2_exact(z[i] - top) * kAttentionOne));
    weights[i] = static_cast<uint8_t>(w);
    total += w;
  }
  int32_t* mixed = s.scores.data();
  mix_values(weights, cache.values.data() + at * cache.channels, capacity, cache.channels, mixed);
  const float inverse = 1.0f / static_cast<float>(total);
  for (int c = 0; c < head_dim; ++c) y[c] = static_cast<float>(mixed[c]) * inverse;
}

// Base-2 logits -> counts: each >= 1, sum 2^24, the rest to the most probable symbol.
void counts_from_logits(const float* z, int32_t* counts) {
  float top = -__builtin_inff();
#pragma omp simd reduction(max : top)
  for (int i = 0; i < 256; ++i) top = z[i] > top ? z[i] : top;
  int32_t mass[256];
  int64_t total = 0;
  for (int i = 0; i < 256; ++i) {
    // Masses reach 2^23, too large for round_even; they are not negative, so 2^23 does the same.
    mass[i] = static_cast<int32_t>((exp2_exact(z[i] - top) * kMassOne + 0x1p23f) - 0x1p23f);
    total += mass[i];
  }
  const int64_t share = ((kTotal - 256) << 32) / total;
  int64_t sum = 0;
  for (int i = 0; i < 256; ++i) {
    const int64_t count = 1 + ((mass[i] * share) >> 32);
    counts[i] = static_cast<int32_t>(count);
    sum += count;
  }
  int best = 0;
  for (int i = 1; i < 256; ++i) best = mass[i] > mass[best] ? i : best;
  counts[best] += static_cast<int32_t>(kTotal - sum);
}

}  // namespace

void forward(const Model& m, std::vector<Cache>& caches, Scratch& s, const Row* rows, int n) {
  const int D = m.d_model, H = m.n_heads, G = m.n_kv_heads, C = m.head_dim, half = C / 2;
  const int width = s.width, wide = s.wide, channels = s.channels;
  float scale[kMaxRows];
  const auto x = [&](int r) { return s.x.data() + static_cast<std::size_t>(r) * width; };
  const auto codes = [&](int r) { return s.codes.data() + static_cast<std::size_t>(r) * wide; };
  const auto acc = [&](int r) { return s.acc.data() + static_cast<std::size_t>(r) * wide; };

  for (int r = 0; r < n; ++r) {
    const int8_t* e = m.embed.data() + static_cast<std::size_t>(rows[r].token) * D;
    const float step = m.embed_scale[rows[r].token];
    for (int d = 0; d < D; ++d) x(r)[d] = static_cast<float>(e[d]) * step;
    const int64_t t = rows[r].position % m.rope_period;
    for (int i = 0; i < half; ++i) {
      const int64_t angle = t * m.turns[i] % m.rope_period;
      s.cos[r * half + i] = m.cos[angle];
      s.sin[r * half + i] = m.sin[angle];
    }
  }

  // Adds (codes x matrix) * scale * channel scale to the residual stream of row r.
  const auto add_product = [&](const Matrix& w, int r) {
    float* to = x(r);
    const int32_t* a = acc(r);
    const float* channel = w.scale.data();
    const float row = scale[r];
    for (int d = 0; d < D; ++d) {
      const float y = (static_cast<float>(a[d]) * row) * channel[d];
      to[d] = to[d] + y;
    }
  };

  for (std::size_t l = 0; l < m.layers.size(); ++l) {
    const Layer& layer = m.layers[l];
    Cache& cache = caches[l];

    const Matrix& qkv = layer.qkv;
    for (int r = 0; r < n; ++r) scale[r] = normalize(x(r), D, qkv.padded_in(), codes(r));
    multiply(codes(0), wide, qkv, acc(0), wide, n);
    float* u = s.wide_f.data();
    for (int r = 0; r < n; ++r) {
      for (int i = 0; i < qkv.out; ++i) u[i] = static_cast<float>(acc(r)[i]) * qkv.scale[i];
      const float* cos = s.cos.data() + static_cast<std::size_t>(r) * half;
      const float* sin = s.sin.data() + static_cast<std::size_t>(r) * half;
      const int slot = static_cast<int>(rows[r].position % cache.capacity);
      for (int h = 0; h < H + G; ++h) {
        rotate(u + h * C, cos, sin, half, s.norm.data());
        uint8_t* query = s.queries.data() + (static_cast<std::size_t>(r) * (H + 1) + (h < H ? h : H)) * channels;
        const float head_scale = normalize(s.norm.data(), C, channels, query);
        if (h < H) {
          s.q_scale[r * H + h] = head_scale * layer.gain[h];
        } else {
          store_key(cache, static_cast<std::size_t>(rows[r].lane) * G + (h - H), slot, query,
                    head_scale);
        }
      }
      for (int g = 0; g < G; ++g) {
        store_value(cache, static_cast<std::size_t>(rows[r].lane) * G + g, slot,
                    u + (H + G + g) * C, scale[r], C);
      }
    }
    for (int r = 0; r < n; ++r) {
      float* y = s.wide_f.data();
      for (int h = 0; h < H; ++h) {
        attend(cache, static_cast<std::size_t>(rows[r].lane) * G + h / (H / G), rows[r].position,
               s.queries.data() + (static_cast<std::size_t>(r) * (H + 1) + h) * channels,
               s.q_scale[r * H + h], s, y + h * C, C);
      }
      scale[r] = quantize(y, H * C, layer.out.padded_in(), codes(r), nullptr) / 127.0f;
    }
    multiply(codes(0), wide, layer.out, acc(0), wide, n);
    for (int r = 0; r < n; ++r) add_product(layer.out, r);

    const Matrix& up = layer.up;
    for (int r = 0; r < n; ++r) scale[r] = normalize(x(r), D, up.padded_in(), codes(r));
    multiply(codes(0), wide, up, acc(0), wide, n);
    for (int r = 0; r < n; ++r) {
      for (int i = 0; i < up.out; ++i) {
        float v = static_cast<float>(acc(r)[i]) * up.scale[i];
        v = v > 0.0f ? v : 0.0f;
        u[i] = v * v;
      }
      float step = quantize(u, up.out, layer.down.padded_in(), codes(r), nullptr) / 127.0f;
      step = step * scale[r];
      scale[r] = step * scale[r];
    }
    multiply(codes(0), wide, layer.down, acc(0), wide, n);
    for (int r = 0; r < n; ++r) add_product(layer.down, r);
  }

  for (int r = 0; r < n; ++r) scale[r] = normalize(x(r), D, m.head.padded_in(), codes(r));
  multiply(codes(0), wide, m.head, acc(0), wide, n);
  for (int r = 0; r < n; ++r) {
    float z[256];
    for (int i = 0; i < 256; ++i) {
      z[i] = (static_cast<float>(acc(r)[i]) * scale[r]) * m.head.scale[i];
    }
    counts_from_logits(z, rows[r].counts);
  }
}

}  // namespace nncodec::NNCODEC_NAMESPACE
