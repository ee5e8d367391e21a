#include "field_plan.h"

#include <algorithm>
#include <stdexcept>

namespace nncodec {

namespace {

constexpr int64_t kLeastUnit = 128, kUnitOfLongRows = 1024;

int64_t unit_of(int64_t cols) {
  if (cols > kMostUnit) return kUnitOfLongRows;
  return cols * ((kLeastUnit + cols - 1) / cols);
}

// The contexts of everything in a plan but the tables.
struct PlanCode {
  FollowingBit coded, copies, flips, narrows;
  FollowingBit copied[2], flipped[2], narrow[3][4], uniform;
  FollowingBit classes[kMostTables + 1][64], planes[kPlanes][64];
  NumberCode escapes, distances;
  TableCode tables;
};

template <class Coder>
class PlanRun {
 public:
  PlanRun(Coder& coder, Plan& plan) : coder_(coder), plan_(plan) {}

  void tables() {
    const auto count = code_plain(coder_, static_cast<uint32_t>(plan_.tables.size()), 6);
    plan_.tables.resize(count);
    class_bits_ = std::bit_width(count);
    for (Frequencies& f : plan_.tables) code_.tables.code(coder_, f);
  }

  void item(const ItemShape& shape, ItemPlan& item) {
    item.coded = flag(code_.coded, item.coded);
    if (!item.coded) return;
    const auto units = static_cast<std::size_t>(shape.units);
    copies(shape, item);
    item.classes.resize(units);
    int before = 0;
    const bool uniform = flag(code_.uniform, Coder::kKnows && is_uniform(item));
    for (std::size_t u = 0, coded = 0; u < units; ++u) {
      if (item.copied(static_cast<int64_t>(u))) continue;
      uint8_t& own = item.classes[u];
      if (uniform && coded++ > 0) {
        own = static_cast<uint8_t>(before);
        continue;
      }
      own = table(code_.classes[before], own);
      before = own;
    }
    if (shape.windowed()) {
      item.top = static_cast<uint8_t>(code_plain(coder_, item.top, 8));
      item.escapes = code_.escapes.code(coder_, item.escapes, static_cast<uint32_t>(shape.elements) + 1);
      if (item.escapes > 0) plane(item, kEscapes);
      plane(item, kNibbles);
    }
    if (shape.kind == TensorKind::kFloat32) narrow(units, item);
    if (shape.kind == TensorKind::kFloat16 || shape.kind == TensorKind::kFloat32) plane(item, kLow);
  }

 private:
  bool flag(FollowingBit& bit, bool value) { return bit.code(coder_, value) != 0; }

  uint8_t table(FollowingBit* nodes, uint8_t value) {
    const int got = code_tree(coder_, nodes, class_bits_, value);
    if (got > static_cast<int>(plan_.tables.size()))
      throw PayloadError("the plan names a table that it has not");
    return static_cast<uint8_t>(got);
  }

  void plane(ItemPlan& item, Plane which) {
    item.planes[which] = table(code_.planes[which], item.planes[which]);
  }

  static bool is_uniform(const ItemPlan& item) {
    int first = -1;
    for (std::size_t u = 0; u < item.classes.size(); ++u) {
      if (item.copied(static_cast<int64_t>(u))) continue;
      if (first < 0) first = item.classes[u];
      if (item.classes[u] != first) return false;
    }
    return true;
  }

  void copies(const ItemShape& shape, ItemPlan& item) {
    if (!flag(code_.copies, Coder::kKnows && !item.copies.empty())) return;
    item.copies.resize(static_cast<std::size_t>(shape.units));
    item.flipped.resize(static_cast<std::size_t>(shape.units));
    bool before = false, any = false;
    for (std::size_t u = 0; u < item.copies.size(); ++u) {
      const bool copied = flag(code_.copied[before], item.copies[u] != 0);
      before = copied;
      if (!copied) continue;
      const auto limit = static_cast<uint32_t>(shape.first_unit + static_cast<int64_t>(u));
      item.copies[u] = code_.distances.code(coder_, item.copies[u] - 1, limit) + 1;
      if (!shape.has_sign()) continue;
      item.flipped[u] = flag(code_.flipped[u > 0 && item.flipped[u - 1]], item.flipped[u]);
      any |= item.flipped[u] != 0;
    }
    if (any) plane(item, kFlips);
  }

  void narrow(std::size_t units, ItemPlan& item) {
    bool kept[3] = {};
    const bool some = flag(code_.narrows, Coder::kKnows && !item.narrow.empty());
    if (some) item.narrow.resize(units);
    uint8_t before = kWide;
    for (std::size_t u = 0; u < units; ++u) {
      if (item.copied(static_cast<int64_t>(u))) continue;
      if (some) {
        const int got = code_tree(coder_, code_.narrow[before], 2, item.narrow[u]);
        if (got > kNothing) throw PayloadError("no such narrowness");
        before = item.narrow[u] = static_cast<uint8_t>(got);
      }
      kept[before] = true;
    }
    if (kept[kWide]) plane(item, kMiddle);
    if (kept[kThreeBits]) plane(item, kNarrowMiddle);
  }

  Coder& coder_;
  Plan& plan_;
  PlanCode code_;
  int class_bits_ = 0;
};

template <class Coder>
void run(Coder& coder, const std::vector<ItemShape>& shapes, Plan& plan) {
  PlanRun<Coder> run(coder, plan);
  run.tables();
  for (std::size_t i = 0; i < shapes.size(); ++i) run.item(shapes[i], plan.items[i]);
}

}  // namespace

std::vector<ItemShape> shapes_of(const std::vector<TensorItem>& items) {
  std::vector<ItemShape> shapes;
  shapes.reserve(items.size());
  int64_t begin = 0, units = 0;
  for (const TensorItem& item : items) {
    const int64_t bytes = item_bytes(item), elements = item.rows * item.cols;
    const int64_t unit = unit_of(item.cols), own = (elements + unit - 1) / unit;
    shapes.push_back({item.kind, static_cast<int>(bytes / elements), elements, unit, own, begin, units});
    begin += bytes;
    units += own;
    if (begin > kMaxChunk) throw std::invalid_argument("the tensors do not fit a chunk");
  }
  return shapes;
}

std::vector<uint8_t> write_plan(const std::vector<ItemShape>& shapes, Plan& plan) {
  BitWriter coder;
  run(coder, shapes, plan);
  return coder.coder.finish();
}

Plan read_plan(const std::vector<ItemShape>& shapes, const uint8_t* data, std::size_t size) {
  BitReader coder(data, size);
  Plan plan;
  plan.items.resize(shapes.size());
  run(coder, shapes, plan);
  coder.coder.finish();
  return plan;
}

}  // namespace nncodec
