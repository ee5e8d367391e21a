// Products of many rows with AMX tiles: 16 x 64 codes times 64 x 16 weights an instruction. Few rows,
// and attention, go the way of AVX-512 VNNI. NNCODEC_EMULATE_TILES makes the tiles of plain memory,
// which is how machines without them test this file.
#define NNCODEC_TILES

#include "dot_vnni.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

#if defined(NNCODEC_EMULATE_TILES)
struct Tile {
  alignas(64) uint8_t bytes[16][64];
};
thread_local Tile emulated[8];

inline void load_tile(Tile& t, const void* from, std::size_t stride) {
  for (int r = 0; r < 16; ++r) {
    __builtin_memcpy(t.bytes[r], static_cast<const uint8_t*>(from) + r * stride, 64);
  }
}

inline void store_tile(const Tile& t, void* to, std::size_t stride) {
  for (int r = 0; r < 16; ++r) {
    __builtin_memcpy(static_cast<uint8_t*>(to) + r * stride, t.bytes[r], 64);
  }
}

// TDPBUSD: c[m][n] += sum over k and i of a[m][4k+i] (unsigned) * b[k][4n+i] (signed).
inline void dot_tile(Tile& c, const Tile& a, const Tile& b) {
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      int32_t sum;
      __builtin_memcpy(&sum, c.bytes[m] + 4 * n, 4);
      for (int k = 0; k < 16; ++k) {
        for (int i = 0; i < 4; ++i) {
          sum += a.bytes[m][4 * k + i] * static_cast<int8_t>(b.bytes[k][4 * n + i]);
        }
      }
      __builtin_memcpy(c.bytes[m] + 4 * n, &sum, 4);
    }
  }
}

struct Tiles {};
#define NNCODEC_TILE_LOAD(t, from, stride) load_tile(emulated[t], from, stride)
#define NNCODEC_TILE_STORE(t, to, stride) store_tile(emulated[t], to, stride)
#define NNCODEC_TILE_DOT(c, a, b) dot_tile(emulated[c], emulated[a], emulated[b])
#else
// Configures the eight tiles of this thread, 16 rows of 64 bytes each, and gives them back.
struct Tiles {
  Tiles() {
    struct alignas(64) Config {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t columns[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof config == 64);
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};
#define NNCODEC_TILE_LOAD(t, from, stride) _tile_loadd(t, from, stride)
#define NNCODEC_TILE_STORE(t, to, stride) _tile_stored(t, to, stride)
#define NNCODEC_TILE_DOT(c, a, b) _tile_dpbusd(c, a, b)
#endif

// acc[r][o] = sum_i code[r][i] * weight[o][i]. Codes and sums have room for kMaxRows rows, whatever n:
// rows that nobody asked for are multiplied too, and not looked at.
inline void multiply(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride,
                     int n, Scratch&) {
  if (n <= 8) return multiply_few(codes, stride, m, acc, acc_stride, n);
  const int in = m.padded_in(), blocks = m.padded_out() / 16;
  const bool low = n > 16;  // rows 16 to 31, too
  const std::size_t code_rows = static_cast<std::size_t>(stride);
  const std::size_t acc_rows = static_cast<std::size_t>(acc_stride) * 4;
  // The compiler is not told what tile instructions read and write: nothing may move across them.
  asm volatile("" : : : "memory");
  for (int block = 0; block < blocks; block += 2) {
    const bool pair = blocks - block > 1;
    const int8_t* w0 = m.packed.data() + static_cast<std::size_t>(block) * in * 16;
    const int8_t* w1 = w0 + static_cast<std::size_t>(pair ? in : 0) * 16;
    const int32_t* bias0 = m.bias.data() + 16 * block;
    const int32_t* bias1 = bias0 + (pair ? 16 : 0);
    NNCODEC_TILE_LOAD(0, bias0, 0);  // stride 0: all rows begin with the same sums
    NNCODEC_TILE_LOAD(1, bias1, 0);
    NNCODEC_TILE_LOAD(2, bias0, 0);
    NNCODEC_TILE_LOAD(3, bias1, 0);
    for (int i = 0; i < in; i += 64) {
      NNCODEC_TILE_LOAD(4, codes + i, code_rows);
      NNCODEC_TILE_LOAD(6, w0 + static_cast<std::size_t>(i) * 16, 64);
      NNCODEC_TILE_LOAD(7, w1 + static_cast<std::size_t>(i) * 16, 64);
      NNCODEC_TILE_DOT(0, 4, 6);
      NNCODEC_TILE_DOT(1, 4, 7);
      if (low) {
        NNCODEC_TILE_LOAD(5, codes + 16 * code_rows + i, code_rows);
        NNCODEC_TILE_DOT(2, 5, 6);
        NNCODEC_TILE_DOT(3, 5, 7);
      }
    }
    int32_t* to = acc + 16 * block;
    NNCODEC_TILE_STORE(0, to, acc_rows);
    if (pair) NNCODEC_TILE_STORE(1, to + 16, acc_rows);
    if (low) {
      NNCODEC_TILE_STORE(2, to + 16 * acc_stride, acc_rows);
      if (pair) NNCODEC_TILE_STORE(3, to + 16 * acc_stride + 16, acc_rows);
    }
  }
  asm volatile("" : : : "memory");
}

inline int64_t bare_products(int64_t rounds) {
  const uint8_t zeros[16 * 64] = {};
  for (int64_t i = 0; i < rounds; ++i) {
    if (i == 0) {
      NNCODEC_TILE_LOAD(4, zeros, 64);
      NNCODEC_TILE_LOAD(5, zeros, 64);
      NNCODEC_TILE_LOAD(6, zeros, 64);
      NNCODEC_TILE_LOAD(7, zeros, 64);
    }
    NNCODEC_TILE_DOT(0, 4, 6);
    NNCODEC_TILE_DOT(1, 4, 7);
    NNCODEC_TILE_DOT(2, 5, 6);
    NNCODEC_TILE_DOT(3, 5, 7);
  }
  return rounds * 4 * 16 * 16 * 64;
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
