// Attention of one row over the rings of its lane. Ring order is free, because maxima and integer sums
// do not depend on order.
#pragma once

#include "exact_math.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "codes are packed four to a word");

// Rotates one head by its position's angles: (a, b) -> (a cos - b sin, a sin + b cos).
NNCODEC_STAGE static void rotate(const float* u, const float* cos, const float* sin, int half, float* out) {
  int i = 0;
  for (; i + kWidth <= half; i += kWidth) {
    const Floats a = load<Floats>(u + i), b = load<Floats>(u + half + i);
    const Floats c = load<Floats>(cos + i), s = load<Floats>(sin + i);
    const Floats ac = a * c, bs = b * s, as = a * s, bc = b * c;
    store(out + i, ac - bs);
    store(out + half + i, as + bc);
  }
  for (; i < half; ++i) {
    const float ac = u[i] * cos[i], bs = u[half + i] * sin[i];
    const float as = u[i] * sin[i], bc = u[half + i] * cos[i];
    out[i] = ac - bs;
    out[half + i] = as + bc;
  }
}

NNCODEC_STAGE static void store_key(Cache& cache, std::size_t ring, int slot, const uint8_t* codes, float scale) {
  int8_t* keys = cache.keys.data() + ring * cache.capacity * cache.channels +
                 static_cast<std::size_t>(slot / 16) * 16 * cache.channels + slot % 16 * 4;
  int32_t sum = 0;
  for (int c = 0; c < cache.channels; ++c) sum += codes[c];
  for (int c = 0; c < cache.channels; c += 4) {
    uint32_t four;
    __builtin_memcpy(&four, codes + c, 4);
    four ^= 0x80808080u;
    __builtin_memcpy(keys + c * 16, &four, 4);
  }
  cache.key_bias[ring * cache.capacity + slot] = -128 * (sum - 128 * cache.channels);
  cache.key_scales[ring * cache.capacity + slot] = scale;
}

NNCODEC_STAGE static void store_value(Cache& cache, std::size_t ring, int slot, const float* u, float scale, int n) {
  int8_t* values = cache.values.data() + ring * cache.capacity * cache.channels +
                   static_cast<std::size_t>(slot / 4) * 4 * cache.channels;
  const int shift = slot % 4 * 8;  // values of four slots lie together: [slots / 4][channels][4]
  const auto keep = static_cast<int32_t>(~(uint32_t{0xff} << shift));
  int c = 0;
  for (; c + kWidth <= n; c += kWidth) {
    Floats v = load<Floats>(u + c) * scale;
    v = larger(v, floats(-127.0f));
    v = v < 127.0f ? v : floats(127.0f);
    const Ints code = to_ints(round_even(v)) & 0xff;
    store(values + 4 * c, (load<Ints>(values + 4 * c) & keep) | (code << shift));
  }
  for (; c < n; ++c) {
    float v = u[c] * scale;
    v = v > -127.0f ? v : -127.0f;
    v = v < 127.0f ? v : 127.0f;
    values[4 * c + slot % 4] = static_cast<int8_t>(static_cast<int32_t>(round_even(v)));
  }
}

inline void prefetch(const void* from, std::size_t size) {
  for (std::size_t i = 0; i < size; i += 64) __builtin_prefetch(static_cast<const char*>(from) + i);
}

inline void prefetch_ring(const Cache& cache, std::size_t ring, int slots) {
  const std::size_t whole = static_cast<std::size_t>(cache.capacity) * cache.channels;
  const std::size_t size = static_cast<std::size_t>(slots) * cache.channels;
  prefetch(cache.keys.data() + ring * whole, size);
  prefetch(cache.values.data() + ring * whole, size);
}

// Marks (all ones) the slots that a position sees: those of age 0 to `seen` - 1.
inline void mark_visible(int64_t position, int seen, int capacity, int32_t* visible) {
  const int newest = static_cast<int>(position % capacity);
  const int oldest = newest - seen + 1;  // below 0: the window wraps around
  for (int i = 0; i < capacity; ++i) {
    visible[i] = (i <= newest && i >= oldest) || i >= oldest + capacity ? -1 : 0;
  }
}

// One head group's way through the first `slots` slots of a ring, kHeads heads of one row. Weights are
// integers up to `one`: 255, or of 16 bits (kWide), as two bytes that are multiplied apart.
template <int kHeads, bool kWide>
struct Attend {
  const Cache& cache;
  const int slots, one;
  const std::size_t at;  // the ring's first slot
  const uint8_t* queries;
  const float* q_scales;
  const bool masked;  // some slots are not visible
  Scratch& s;
  Floats tops[kHeads];

  // Logits of 16 * kBlocks slots, and the largest so far.
  template <int kBlocks>
  void score(int slot) {
    const int channels = cache.channels;
    int32_t* scores = s.scores.data();
    score_slots<kHeads, kBlocks>(queries, channels, cache.keys.data() + (at + slot) * channels,
                                 cache.key_bias.data() + at + slot, channels, scores, 16 * kBlocks);
    const float* key_scales = cache.key_scales.data() + at + slot;
    for (int h = 0; h < kHeads; ++h) {
      float* z = s.weights_f.data() + h * s.slots + slot;
      for (int i = 0; i < 16 * kBlocks; i += kWidth) {
        const Floats dot = to_floats(load<Ints>(scores + 16 * kBlocks * h + i));
        Floats logit = (dot * load<Floats>(key_scales + i)) * q_scales[h];
        if (masked) {
          logit = select(load<Ints>(s.visible.data() + slot + i), logit, floats(-kInfinity));
        }
        tops[h] = larger(tops[h], logit);
        store(z + i, logit);
      }
    }
  }

  // Logits to weights; returns the reciprocal of their sum.
  float weigh(int h) {
    const float top = largest(tops[h]);
    const float* z = s.weights_f.data() + h * s.slots;
    uint8_t* weights = s.weights.data() + h * s.slots;
    const float most = kWide ? static_cast<float>(one) : kAttentionOne;
    Ints total{};
    for (int i = 0; i < slots; i += kWidth) {
      const Ints w = to_ints(round_even(exp2_exact(load<Floats>(z + i) - top) * most));
      total += w;
      if (kWide) store_bytes(s.weights_low.data() + h * s.slots + i, w & 0xff);
      store_bytes(weights + i, kWide ? w >> 8 : w);
    }
    return 1.0f / static_cast<float>(sum(total));
  }

  // Channels c .. c + 16 * kBlocks - 1 of the weighted values.
  template <int kBlocks>
  void mix(int c, const float* inverse, float* y, int head_dim) {
    int32_t mixed[kHeads][16 * kBlocks];
    const int8_t* values = cache.values.data() + at * cache.channels + 4 * c;
    mix_channels<kHeads, kBlocks>(s.weights.data(), s.slots, values, slots, cache.channels, mixed[0],
                                  16 * kBlocks);
    if (kWide) {
      int32_t low[kHeads][16 * kBlocks];
      mix_channels<kHeads, kBlocks>(s.weights_low.data(), s.slots, values, slots, cache.channels, low[0],
                                    16 * kBlocks);
      for (int h = 0; h < kHeads; ++h) {
        for (int i = 0; i < 16 * kBlocks; i += kWidth) {
          store(mixed[h] + i, load<Ints>(mixed[h] + i) * 256 + load<Ints>(low[h] + i));
        }
      }
    }
    for (int h = 0; h < kHeads; ++h) {
      float* to = y + h * head_dim + c;
      int i = 0;
      for (; i < 16 * kBlocks && c + i + kWidth <= head_dim; i += kWidth) {
        store(to + i, to_floats(load<Ints>(mixed[h] + i)) * inverse[h]);
      }
      for (; i < 16 * kBlocks && c + i < head_dim; ++i) {
        to[i] = static_cast<float>(mixed[h][i]) * inverse[h];
      }
    }
  }

  void run(float* y, int head_dim) {
    for (Floats& top : tops) top = floats(-kInfinity);
    int slot = 0;
    for (; slot + 16 * kMaxBlocks <= slots; slot += 16 * kMaxBlocks) score<kMaxBlocks>(slot);
    for (; slot < slots; slot += 16) score<1>(slot);
    float inverse[kHeads];
    for (int h = 0; h < kHeads; ++h) inverse[h] = weigh(h);
    int c = 0;
    for (; c + 16 * kMaxBlocks <= cache.channels; c += 16 * kMaxBlocks) {
      mix<kMaxBlocks>(c, inverse, y, head_dim);
    }
    for (; c < cache.channels; c += 16) mix<1>(c, inverse, y, head_dim);
  }
};

// kHeads heads of one row that share a ring: y (kHeads * head_dim) floats.
template <int kHeads, bool kWide>
void attend(const Cache& cache, std::size_t ring, int64_t position, const uint8_t* queries,
            const float* q_scales, int one, Scratch& s, float* y, int head_dim) {
  const int seen = position + 1 < cache.window ? static_cast<int>(position + 1) : cache.window;
  // Models over tokens have long contexts that never wrap around: what is empty is not looked at.
  const int slots = kWide ? round_up(seen, 16) : cache.capacity;
  const bool masked = seen < slots;
  if (masked) mark_visible(position, seen, kWide ? slots : cache.capacity, s.visible.data());
  Attend<kHeads, kWide>{cache, slots, one, ring * cache.capacity, queries, q_scales, masked, s, {}}.run(
      y, head_dim);
}

// The same for all heads of a row.
template <bool kWide>
void attend_heads(const Model& m, const Cache& cache, std::size_t rings, int64_t position,
                  const uint8_t* queries, const float* q_scales, Scratch& s, float* y) {
  const int group = m.n_heads / m.n_kv_heads;
  for (int h = 0; h < m.n_heads;) {
    // Heads that share a ring go together: its keys and values are loaded once.
    const int left = group - h % group, heads = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const auto work = heads == 4 ? attend<4, kWide> : heads == 2 ? attend<2, kWide> : attend<1, kWide>;
    work(cache, rings + h / group, position, queries + h * s.channels, q_scales + h, m.attention_one, s,
         y + h * m.head_dim, m.head_dim);
    h += heads;
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
