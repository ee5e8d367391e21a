// The planes of a chunk in memory, and the order in which they are written: first what has a table, by
// table; then what has none.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "field_plan.h"
#include "kept_memory.h"

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
  KeptMemory kept_;
  std::unique_ptr<uint8_t[]> sparse_;  // not initialised
  std::vector<ItemPlanes> items_;
};

// Bytes of a unit's nibbles. Units begin with a byte of their own.
inline int64_t nibble_bytes(int64_t elements) { return (elements + 1) / 2; }

struct Run {
  uint8_t* data;
  std::size_t size;
  uint8_t** plane = nullptr;  // beside the symbols, that the run is all of: it may point elsewhere instead
};

struct Streams {
  std::vector<std::vector<Run>> coded;  // by table
  std::vector<Run> plain;
  std::size_t coded_bytes = 0, plain_bytes = 0;
};

// `chunk`: where items that are kept as they are lie.
Streams streams_of(const std::vector<ItemShape>& shapes, const Plan& plan, Planes& planes, uint8_t* chunk);

}  // namespace nncodec
