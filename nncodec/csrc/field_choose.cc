#include "field_choose.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "field_cells.h"

namespace nncodec {

namespace {

constexpr int64_t kSample = 4096;  // elements that a window is chosen by
constexpr int kOctaves = 11;       // of a window, where they hold all but 1/kFar of the sample
constexpr int kFar = 200, kAbove = 2000;
constexpr int64_t kSmall = 2048;       // elements; smaller items are counted together
constexpr int64_t kLeastCopied = 64;   // bytes of a unit that is looked up
constexpr int64_t kLookedAt = 32;      // bytes of it that are hashed
constexpr int64_t kSampledPiece = 64;  // bytes of a unit that tell whether a plane is noise
constexpr int kScales = 256, kPlaneFamily = 256;

// Four counts a symbol, so that equal neighbours do not wait for each other.
struct Tally {
  uint32_t of[4][256] = {};

  void add(const uint8_t* data, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
      uint64_t eight;
      std::memcpy(&eight, data + i, 8);
      for (int k = 0; k < 8; ++k) ++of[k & 3][eight >> (8 * k) & 255];
    }
    for (; i < n; ++i) ++of[0][data[i]];
  }

  Histogram sum() const {
    Histogram total;
    for (std::size_t s = 0; s < 256; ++s) total[s] = of[0][s] + of[1][s] + of[2][s] + of[3][s];
    return total;
  }
};

// The bits of eight bytes of elements but their signs.
uint64_t unsigned_mask(const ItemShape& shape) {
  if (!shape.has_sign()) return ~uint64_t{0};
  return shape.bytes == 1 ? 0x7F7F7F7F7F7F7F7F : shape.bytes == 2 ? 0x7FFF7FFF7FFF7FFF : 0x7FFFFFFF7FFFFFFF;
}

// `size` bytes, at most eight; the others are zeros.
uint64_t load(const uint8_t* data, int64_t size) {
  uint64_t value = 0;
  if (size >= 8) {
    std::memcpy(&value, data, 8);
  } else {
    std::memcpy(&value, data, static_cast<std::size_t>(size));
  }
  return value;
}

class Chooser {
 public:
  Chooser(const std::vector<ItemShape>& shapes, const uint8_t* chunk, const FieldKernels& kernels,
          Planes& planes)
      : shapes_(shapes), chunk_(chunk), kernels_(kernels), planes_(planes) {
    int64_t units = 0;
    for (const ItemShape& s : shapes) units += s.units;
    unit_cells_.assign(static_cast<std::size_t>(units), kNone);
    places_.resize(static_cast<std::size_t>(units));
    recent_.assign(std::bit_ceil(static_cast<std::size_t>(2 * units + 1)), {0, kNone});  // half are free
    plan_.items.resize(shapes.size());
    plane_cells_.resize(shapes.size());
    escapes_.resize(shapes.size());
  }

  Plan run() {
    for (std::size_t i = 0; i < shapes_.size(); ++i) {
      ItemPlan& item = plan_.items[i];
      plane_cells_[i].fill(kNone);
      item.coded = shapes_[i].elements >= kLeastCoded;
      find_copies(i);
      if (item.coded) cut(i);
    }
    planes_.add_sparse(shapes_, plan_);
    for (std::size_t i = 0; i < shapes_.size(); ++i) sparse(i);
    Clusters clusters = cluster(cells_, kMostTables);
    for (std::size_t i = 0; i < shapes_.size(); ++i) {
      ItemPlan& item = plan_.items[i];
      if (!item.coded) continue;
      for (std::size_t u = 0; u < item.classes.size(); ++u) {
        const uint32_t cell = unit_cells_[static_cast<std::size_t>(shapes_[i].first_unit) + u];
        if (cell != kNone) item.classes[u] = clusters.class_of[cell];
      }
      for (int p = 0; p < kPlanes; ++p) {
        if (plane_cells_[i][p] != kNone) item.planes[p] = clusters.class_of[plane_cells_[i][p]];
      }
    }
    plan_.tables = std::move(clusters.tables);
    return std::move(plan_);
  }

 private:
  static constexpr uint32_t kNone = ~0u;

  struct Place {
    const uint8_t* data;
    uint32_t item;
    uint32_t elements;
  };

  struct Recent {
    uint32_t hash, unit;  // the last that had it
  };

  // Units that equal an earlier one, but for signs.
  void find_copies(std::size_t i) {
    const ItemShape& s = shapes_[i];
    ItemPlan& item = plan_.items[i];
    const uint64_t mask = unsigned_mask(s);
    for (int64_t u = 0; u < s.units; ++u) {
      const auto number = static_cast<uint32_t>(s.first_unit + u);
      const Place place = {chunk_ + s.begin + u * s.unit * s.bytes, static_cast<uint32_t>(i),
                           static_cast<uint32_t>(s.length(u))};
      places_[number] = place;
      if (s.length(u) * s.bytes < kLeastCopied) continue;
      uint64_t mixed = place.elements;
      for (int64_t k = 0; k < kLookedAt; k += 8) {
        mixed = (mixed ^ (load(place.data + k, 8) & mask)) * 0x9E3779B97F4A7C15;
        mixed ^= mixed >> 29;
      }
      const auto hash = static_cast<uint32_t>(mixed >> 32);
      std::size_t at_hash = hash & (recent_.size() - 1);
      while (recent_[at_hash].unit != kNone && recent_[at_hash].hash != hash)
        at_hash = (at_hash + 1) & (recent_.size() - 1);
      const uint32_t slot = recent_[at_hash].unit;
      if (item.coded && slot != kNone && same(places_[slot], place, mask)) {
        const auto at = static_cast<std::size_t>(u);
        if (item.copies.empty()) {
          item.copies.resize(static_cast<std::size_t>(s.units));
          item.flipped.resize(static_cast<std::size_t>(s.units));
        }
        item.copies[at] = number - slot;
        item.flipped[at] = std::memcmp(places_[slot].data, place.data,
                                       place.elements * static_cast<std::size_t>(s.bytes)) != 0;
      }
      recent_[at_hash] = {hash, number};
    }
  }

  bool same(const Place& a, const Place& b, uint64_t mask) const {
    if (a.elements != b.elements || shapes_[a.item].kind != shapes_[b.item].kind) return false;
    const int64_t bytes = int64_t{b.elements} * shapes_[b.item].bytes;
    for (int64_t k = 0; k < bytes; k += 8) {
      if (((load(a.data + k, bytes - k) ^ load(b.data + k, bytes - k)) & mask) != 0) return false;
    }
    return true;
  }

  // The window that holds most of a sample.
  Window choose_window(const ItemShape& s) const {
    std::array<int64_t, 256> seen{};
    const int64_t step = (s.elements + kSample - 1) / kSample;
    int64_t count = 0;
    for (int64_t k = 0; k < s.elements; k += step) {
      const uint8_t own = exponent(s, k);
      if (own != 0) ++seen[own], ++count;
    }
    int top = 255;
    for (int64_t above = seen[255]; top > 1 && above * kAbove <= count;
         above += seen[static_cast<std::size_t>(top)])
      --top;
    int64_t below = 0;
    for (int e = 1; e <= top - kOctaves; ++e) below += seen[static_cast<std::size_t>(e)];
    return {top, below * kFar > count ? 2 : 16 - kOctaves};
  }

  void cut(std::size_t i) {
    const ItemShape& s = shapes_[i];
    ItemPlan& item = plan_.items[i];
    const Window window = s.windowed() ? choose_window(s) : Window{};
    item.top = static_cast<uint8_t>(window.top);
    item.classes.resize(static_cast<std::size_t>(s.units));
    std::array<uint32_t, kScales> local;
    local.fill(kNone);
    tallies_.clear();
    for (int64_t u = 0; u < s.units; ++u) {
      if (item.copied(u)) continue;
      split(i, u, window);
      const uint8_t* symbols = planes_.of(i).symbols + u * s.unit;
      const int scale = scale_of(s, symbols, s.length(u));
      uint32_t& cell = s.elements < kSmall ? shared_.try_emplace({family_of(s), scale}, kNone).first->second
                                           : local[static_cast<std::size_t>(scale)];
      if (cell == kNone) {
        cell = static_cast<uint32_t>(cells_.size());
        cells_.push_back({family_of(s), scale, 0, {}});
      }
      ++cells_[cell].units;
      unit_cells_[static_cast<std::size_t>(s.first_unit + u)] = cell;
      tallies_[cell].add(symbols, s.length(u));
      if (s.windowed()) keep_escapes(i, u);
    }
    for (const auto& [cell, tally] : tallies_) {
      const Histogram sum = tally.sum();
      for (std::size_t k = 0; k < 256; ++k) cells_[cell].counts[k] += sum[k];
    }
    if (s.windowed()) {
      item.escapes = static_cast<uint32_t>(escapes_[i].size());
      plane(
          i, kNibbles, [&](int64_t u) { return planes_.of(i).nibbles + u * nibble_bytes(s.unit); },
          [&](int64_t u) { return nibble_bytes(s.length(u)); }, [](int64_t) { return true; });
    }
    const auto at = [&](uint8_t* data) { return [data, &s](int64_t u) { return data + u * s.unit; }; };
    const auto length = [&](int64_t u) { return s.length(u); };
    const auto wide = [&](int64_t u) { return item.narrow_of(u) == kWide; };
    if (s.kind == TensorKind::kFloat32) {
      plane(i, kMiddle, at(planes_.of(i).middle), length, wide);
      plane(i, kNarrowMiddle, at(planes_.of(i).middle), length,
            [&](int64_t u) { return item.narrow_of(u) == kThreeBits; });
    }
    if (planes_.of(i).low != nullptr && s.bytes > 1) {
      if (s.kind == TensorKind::kFloat32 || s.kind == TensorKind::kFloat16)
        plane(i, kLow, at(planes_.of(i).low), length, wide);
    }
  }

  void keep_escapes(std::size_t i, int64_t u) {
    const ItemShape& s = shapes_[i];
    uint16_t places[kMostUnit];
    const std::size_t count = kernels_.find_escapes(planes_.of(i).symbols + u * s.unit,
                                                    static_cast<std::size_t>(s.length(u)), places);
    for (std::size_t k = 0; k < count; ++k) escapes_[i].push_back(exponent(s, u * s.unit + places[k]));
  }

  // Of an element whose upper half is a bfloat16.
  uint8_t exponent(const ItemShape& s, int64_t k) const {
    const uint8_t* last = chunk_ + s.begin + (k + 1) * s.bytes - 2;
    return static_cast<uint8_t>(last[1] << 1 | last[0] >> 7);
  }

  void split(std::size_t i, int64_t u, Window window) {
    const ItemShape& s = shapes_[i];
    const ItemPlanes& p = planes_.of(i);
    const uint8_t* from = chunk_ + s.begin + u * s.unit * s.bytes;
    const auto n = static_cast<std::size_t>(s.length(u));
    const int64_t at = u * s.unit;
    uint8_t* nibbles = p.nibbles + u * nibble_bytes(s.unit);
    if (s.kind == TensorKind::kBFloat16) kernels_.split_bfloat16(from, n, window, p.symbols + at, nibbles);
    if (s.kind == TensorKind::kFloat16) kernels_.split_float16(from, n, p.symbols + at, p.low + at);
    if (s.kind != TensorKind::kFloat32) return;
    const uint32_t any =
        kernels_.split_float32(from, n, window, p.symbols + at, nibbles, p.middle + at, p.low + at);
    if ((any & 0x1FFF) != 0) return;
    ItemPlan& item = plan_.items[i];
    if (item.narrow.empty()) item.narrow.resize(static_cast<std::size_t>(s.units));
    item.narrow[static_cast<std::size_t>(u)] = any == 0 ? kNothing : kThreeBits;
  }

  // The mean size of elements, in quarters of an octave.
  int scale_of(const ItemShape& s, const uint8_t* symbols, int64_t n) const {
    const auto count = static_cast<uint64_t>(n);
    switch (s.kind) {
      case TensorKind::kFloat32:
      case TensorKind::kBFloat16:
      case TensorKind::kFloat8E4M3:
        return static_cast<int>(kernels_.sum_magnitudes(symbols, static_cast<std::size_t>(n)) /
                                (2 * count));
      case TensorKind::kFloat16:
      case TensorKind::kFloat8E5M2:
        return static_cast<int>(kernels_.sum_magnitudes(symbols, static_cast<std::size_t>(n)) / count);
      case TensorKind::kInt8: {
        const uint64_t mean = kernels_.sum_distances(symbols, static_cast<std::size_t>(n)) * 16 / count;
        return static_cast<int>(log2_fixed(static_cast<uint32_t>(mean) + 1) >> 14);
      }
      default:
        return 0;
    }
  }

  // float32 and bfloat16 are cut alike.
  static int family_of(const ItemShape& s) {
    return static_cast<int>(s.kind == TensorKind::kBFloat16 ? TensorKind::kFloat32 : s.kind);
  }

  // A cell of its own for a plane that does not look like noise.
  template <class At, class Length, class Kept>
  void plane(std::size_t i, Plane which, At at, Length length, Kept kept) {
    const ItemShape& s = shapes_[i];
    Tally sample, all;
    int64_t sampled = 0;
    for (int64_t u = 0; u < s.units; ++u) {
      if (plan_.items[i].copied(u) || !kept(u)) continue;
      const int64_t n = std::min(kSampledPiece, length(u));
      sample.add(at(u), n);
      sampled += n;
    }
    // Of so few bytes even noise seems to have less than eight bits each.
    if (entropy(sample.sum()) + (uint64_t{256} << 16) >
        static_cast<uint64_t>(sampled) * ((8 << 16) - (1 << 12)))
      return;
    for (int64_t u = 0; u < s.units; ++u) {
      if (!plan_.items[i].copied(u) && kept(u)) all.add(at(u), length(u));
    }
    plane_cells_[i][which] = static_cast<uint32_t>(cells_.size());
    cells_.push_back({kPlaneFamily + which, 0, 1, all.sum()});
  }

  // Planes that hold something for a few elements only.
  void sparse(std::size_t i) {
    const ItemShape& s = shapes_[i];
    const ItemPlan& item = plan_.items[i];
    uint8_t* const escapes = planes_.of(i).escapes;
    small_plane(i, kEscapes, escapes, std::copy(escapes_[i].begin(), escapes_[i].end(), escapes));
    uint8_t* flips = planes_.of(i).flips;
    for (std::size_t u = 0; u < item.flipped.size(); ++u) {
      if (item.flipped[u] == 0) continue;
      const std::size_t number = static_cast<std::size_t>(s.first_unit) + u;
      const Place &own = places_[number], &source = places_[number - item.copies[u]];
      for (int64_t k = 0; k < own.elements; k += 8) {
        uint8_t bits = 0;
        for (int64_t b = 0; b < 8 && k + b < own.elements; ++b) {
          const int64_t top = (k + b + 1) * s.bytes - 1;  // the byte with the sign
          const bool flipped = own.data[top] != source.data[top];
          bits = static_cast<uint8_t>(bits | static_cast<int>(flipped) << b);
        }
        *flips++ = bits;
      }
    }
    small_plane(i, kFlips, planes_.of(i).flips, flips);
  }

  void small_plane(std::size_t i, Plane which, const uint8_t* begin, const uint8_t* end) {
    if (begin == end) return;
    Tally all;
    all.add(begin, end - begin);
    plane_cells_[i][which] = static_cast<uint32_t>(cells_.size());
    cells_.push_back({kPlaneFamily + which, 0, 1, all.sum()});
  }

  const std::vector<ItemShape>& shapes_;
  const uint8_t* const chunk_;
  const FieldKernels& kernels_;
  Planes& planes_;
  Plan plan_;
  std::vector<Cell> cells_;
  std::map<std::pair<int, int>, uint32_t> shared_;  // family and scale -> cell of small items
  std::map<uint32_t, Tally> tallies_;               // of the item's cells
  std::vector<uint32_t> unit_cells_;                // of each unit of the chunk
  std::vector<std::array<uint32_t, kPlanes>> plane_cells_;
  std::vector<Place> places_;
  std::vector<std::vector<uint8_t>> escapes_;  // of each item
  std::vector<Recent> recent_;                 // a hash table with open addresses
};

}  // namespace

Plan choose_plan(const std::vector<ItemShape>& shapes, const uint8_t* chunk, const FieldKernels& kernels,
                 Planes& planes) {
  return Chooser(shapes, chunk, kernels, planes).run();
}

}  // namespace nncodec
