// The planes of a chunk in memory, and the order in which they are written: first what has a table, by
// table; then what has none.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "field_plan.h"

namespace nncodec {

// Where an item's planes are; what it does not have is empty.
struct ItemPlanes {
  uint8_t *symbols, *nibbles, *middle, *low, *escapes, *flips;
};

class Planes {
 public:
  // Symbols of elements of one byte are the chunk's own bytes.
  Planes(const std::vector<ItemShape>& shapes, uint8_t* chunk);
  // Room for the planes whose size the plan tells.
  void add_sparse(const std::vector<ItemShape>& shapes, const Plan& plan);
  ItemPlanes& of(std::size_t item) { return items_[item]; }

 private:
  std::unique_ptr<uint8_t[]> bytes_, sparse_;  // not initialised
  std::vector<ItemPlanes> items_;
};

// Bytes of a unit's nibbles. Units begin with a byte of their own.
inline int64_t nibble_bytes(int64_t elements) { return (elements + 1) / 2; }

// Places of symbols whose exponent is written elsewhere; eight are looked at in one go.
template <class Visit>
void for_each_escape(const uint8_t* symbols, int64_t n, Visit visit) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t eight;
    std::memcpy(&eight, symbols + i, 8);
    const uint64_t slots = (eight & 0x78 * kOnes) ^ 0x08 * kOnes;  // 0 where the slot is 1
    if (((slots - kOnes) & ~slots & 0x80 * kOnes) == 0) continue;
    for (int64_t k = i; k < i + 8; ++k) {
      if ((symbols[k] & 0x78) == 0x08) visit(k);
    }
  }
  for (; i < n; ++i) {
    if ((symbols[i] & 0x78) == 0x08) visit(i);
  }
}

struct Run {
  uint8_t* data;
  std::size_t size;
};

struct Streams {
  std::vector<std::vector<Run>> coded;  // by table
  std::vector<Run> plain;
  std::size_t coded_bytes = 0, plain_bytes = 0;
};

// `chunk`: where items that are kept as they are lie.
Streams streams_of(const std::vector<ItemShape>& shapes, const Plan& plan, Planes& planes, uint8_t* chunk);

}  // namespace nncodec
