#include "field_streams.h"

namespace nncodec {

namespace {

int64_t flip_bytes(const ItemShape& shape, const ItemPlan& item) {
  int64_t total = 0;
  for (std::size_t u = 0; u < item.flipped.size(); ++u) {
    if (item.flipped[u]) total += (shape.length(static_cast<int64_t>(u)) + 7) / 8;
  }
  return total;
}

class Collector {
 public:
  explicit Collector(std::size_t tables) { streams_.coded.resize(tables); }

  // A run that no unit after it continues.
  void whole(int table, uint8_t* data, int64_t size) {
    start();
    unit(0, table, data, size);
    start();
  }

  void start() { last_ = -2; }

  // Units that follow each other and have the same table are one run.
  void unit(int64_t u, int table, uint8_t* data, int64_t size) {
    if (size == 0) return;
    const auto bytes = static_cast<std::size_t>(size);
    std::vector<Run>& runs =
        table == 0 ? streams_.plain : streams_.coded[static_cast<std::size_t>(table) - 1];
    if (last_ + 1 == u && last_table_ == table) {
      runs.back().size += bytes;
    } else {
      runs.push_back({data, bytes});
    }
    (table == 0 ? streams_.plain_bytes : streams_.coded_bytes) += bytes;
    last_ = u;
    last_table_ = table;
  }

  // After the units of a plane of so many bytes: whether one plain run is all of it.
  void filled(uint8_t*& plane, int64_t size) {
    if (streams_.plain.empty()) return;
    Run& run = streams_.plain.back();
    if (run.data == plane && run.size == static_cast<std::size_t>(size)) run.plane = &plane;
  }

  Streams take() { return std::move(streams_); }

 private:
  Streams streams_;
  int64_t last_ = -2;
  int last_table_ = 0;
};

}  // namespace

Planes::Planes(const std::vector<ItemShape>& shapes, uint8_t* chunk) {
  int64_t total = 0;
  for (const ItemShape& s : shapes) {
    total += s.elements * (s.bytes == 1                     ? 0
                           : s.kind == TensorKind::kFloat32 ? 3
                           : s.kind == TensorKind::kFloat16 ? 2
                                                            : 1);
    if (s.windowed()) total += s.units * nibble_bytes(s.unit);
  }
  uint8_t* at = kept_.room<uint8_t>(static_cast<std::size_t>(total));
  const auto next = [&](bool has, int64_t size) {
    uint8_t* const from = at;
    if (has) at += size;
    return from;
  };
  for (const ItemShape& s : shapes) {
    ItemPlanes p{};
    p.symbols = s.bytes == 1 ? chunk + s.begin : next(true, s.elements);
    p.nibbles = next(s.windowed(), s.units * nibble_bytes(s.unit));
    p.middle = next(s.kind == TensorKind::kFloat32, s.elements);
    p.low = next(s.kind == TensorKind::kFloat32 || s.kind == TensorKind::kFloat16, s.elements);
    items_.push_back(p);
  }
}

void Planes::add_sparse(const std::vector<ItemShape>& shapes, const Plan& plan) {
  int64_t total = 0;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    total += plan.items[i].escapes + flip_bytes(shapes[i], plan.items[i]);
  }
  sparse_.reset(new uint8_t[static_cast<std::size_t>(total)]);
  uint8_t* at = sparse_.get();
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    items_[i].escapes = at;
    at += plan.items[i].escapes;
    items_[i].flips = at;
    at += flip_bytes(shapes[i], plan.items[i]);
  }
}

Streams streams_of(const std::vector<ItemShape>& shapes, const Plan& plan, Planes& planes, uint8_t* chunk) {
  Collector out(plan.tables.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const ItemShape& s = shapes[i];
    const ItemPlan& item = plan.items[i];
    ItemPlanes& p = planes.of(i);
    if (!item.coded) {
      out.whole(0, chunk + s.begin, s.elements * s.bytes);
      continue;
    }
    const auto each = [&](uint8_t*& plane, auto table_of, auto size_of) {
      out.start();
      const int64_t stride = size_of(s.unit);
      for (int64_t u = 0; u < s.units; ++u) {
        const int table = item.copied(u) ? -1 : table_of(u);
        if (table >= 0) out.unit(u, table, plane + u * stride, size_of(s.length(u)));
      }
      if (&plane != &p.symbols) out.filled(plane, (s.units - 1) * stride + size_of(s.length(s.units - 1)));
    };
    const auto as_is = [](int64_t n) { return n; };
    each(p.symbols, [&](int64_t u) { return int{item.classes[static_cast<std::size_t>(u)]}; }, as_is);
    out.whole(item.planes[kFlips], p.flips, flip_bytes(s, item));
    if (s.windowed()) {
      out.whole(item.planes[kEscapes], p.escapes, item.escapes);
      each(p.nibbles, [&](int64_t) { return int{item.planes[kNibbles]}; }, nibble_bytes);
    }
    if (s.kind == TensorKind::kFloat32) {
      each(
          p.middle,
          [&](int64_t u) {
            const uint8_t narrow = item.narrow_of(u);
            return narrow == kNothing ? -1 : int{item.planes[narrow == kWide ? kMiddle : kNarrowMiddle]};
          },
          as_is);
      each(
          p.low, [&](int64_t u) { return item.narrow_of(u) == kWide ? int{item.planes[kLow]} : -1; },
          as_is);
    }
    if (s.kind == TensorKind::kFloat16) each(p.low, [&](int64_t) { return int{item.planes[kLow]}; }, as_is);
  }
  return out.take();
}

}  // namespace nncodec
