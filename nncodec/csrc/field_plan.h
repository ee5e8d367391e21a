// What the field coder decided for a chunk: frequency tables, and for each item how its elements are cut
// and which table codes which unit of it. Written ahead of the symbols.
#pragma once

#include <cstdint>
#include <vector>

#include "field_tables.h"
#include "tensor_coder.h"

namespace nncodec {

constexpr int kMostTables = 63;      // 0 is no table: bytes as they are
constexpr int64_t kMostUnit = 4096;  // elements
constexpr int64_t kLeastCoded = 32;  // elements; items of fewer are kept as they are

// Elements of an item are taken in units: rows, where they are of a handy length.
struct ItemShape {
  TensorKind kind;
  int bytes;  // an element
  int64_t elements, unit, units;
  int64_t begin;       // of its first byte in the chunk
  int64_t first_unit;  // its number in the chunk

  int64_t length(int64_t u) const { return u + 1 < units ? unit : elements - u * unit; }
  bool windowed() const { return kind == TensorKind::kFloat32 || kind == TensorKind::kBFloat16; }
  bool has_sign() const {
    return kind != TensorKind::kBytes && kind != TensorKind::kInt8 && kind != TensorKind::kUInt8;
  }
};

// Throws std::invalid_argument for sizes beyond a chunk.
std::vector<ItemShape> shapes_of(const std::vector<TensorItem>& items);

// Planes beside the symbols, one table each for the whole item.
enum Plane { kEscapes, kFlips, kNibbles, kMiddle, kNarrowMiddle, kLow, kPlanes };

// How much of float32's low half a unit keeps.
enum Narrow : uint8_t { kWide, kThreeBits, kNothing };

struct ItemPlan {
  bool coded = false;
  uint8_t top = 0;               // of the window
  uint32_t escapes = 0;          // exponents outside of it
  std::vector<uint8_t> classes;  // of each unit's symbols: 1 + table, or 0
  std::vector<uint32_t> copies;  // how many units back the unit's equal lies, 0 for none; or empty
  std::vector<uint8_t> flipped;  // whether the copy differs in signs
  std::vector<uint8_t> narrow;   // of each unit; or empty
  uint8_t planes[kPlanes] = {};  // 1 + table, or 0

  bool copied(int64_t u) const { return !copies.empty() && copies[static_cast<std::size_t>(u)] != 0; }
  uint8_t narrow_of(int64_t u) const {
    return narrow.empty() ? uint8_t{kWide} : narrow[static_cast<std::size_t>(u)];
  }
};

struct Plan {
  std::vector<Frequencies> tables;
  std::vector<ItemPlan> items;
};

std::vector<uint8_t> write_plan(const std::vector<ItemShape>& shapes, Plan& plan);

// Throws PayloadError for what no encoder writes.
Plan read_plan(const std::vector<ItemShape>& shapes, const uint8_t* data, std::size_t size);

}  // namespace nncodec
