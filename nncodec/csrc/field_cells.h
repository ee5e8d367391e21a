// Units that look alike, counted; and which of them share a table.
#pragma once

#include <cstdint>
#include <vector>

#include "field_tables.h"

namespace nncodec {

// Symbols of one family and nearly one size.
struct Cell {
  int family, scale;
  uint32_t units;
  Histogram counts;
};

struct Clusters {
  std::vector<uint8_t> class_of;  // of each cell: 1 + table, or 0 if its bytes are kept as they are
  std::vector<Frequencies> tables;
};

// Merges cells of one family as long as a table less is worth more than what it tells.
Clusters cluster(const std::vector<Cell>& cells, std::size_t most_tables);

}  // namespace nncodec
