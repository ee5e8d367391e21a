#include "field_coder.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "field_choose.h"
#include "field_kernels.h"
#include "field_plan.h"
#include "field_streams.h"
#include "isa.h"

namespace nncodec {

namespace {

void put_number(std::vector<uint8_t>& out, std::size_t value) {
  for (; value > 127; value >>= 7) out.push_back(static_cast<uint8_t>(value | 128));
  out.push_back(static_cast<uint8_t>(value));
}

// Takes the payload apart, never beyond its end.
class Reader {
 public:
  Reader(const uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  const uint8_t* take(std::size_t size) {
    if (size > left()) throw PayloadError("payload ends too early");
    const uint8_t* const from = at_;
    at_ += size;
    return from;
  }

  std::size_t number() {
    std::size_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const uint8_t byte = *take(1);
      value |= static_cast<std::size_t>(byte & 127) << shift;
      if (byte == 0 && shift > 0) throw PayloadError("a length is not in its shortest form");
      if (byte < 128) return value;
    }
    throw PayloadError("a length is too long");
  }

  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

 private:
  const uint8_t *at_, *end_;
};

// Symbols that have a table, in memory that is kept.
class CodedWriter {
 public:
  CodedWriter(const Streams& streams, const Plan& plan, const FieldKernels& kernels) {
    // At most a word a symbol.
    const std::size_t most = streams.coded_bytes + kRansSlack;
    auto* const words = kept_.room<uint16_t>(most);
    writer_.lanes = lanes_for(streams.coded_bytes);
    std::fill_n(writer_.states, writer_.lanes, kRansLow);
    writer_.next = words + most;
    RansSymbols symbols;
    for (std::size_t t = plan.tables.size(); t-- > 0;) {
      fill(plan.tables[t], symbols);
      const std::vector<Run>& runs = streams.coded[t];
      for (auto run = runs.rbegin(); run != runs.rend(); ++run)
        kernels.encode(symbols, run->data, run->size, writer_);
    }
    words_ = static_cast<std::size_t>(words + most - writer_.next);
    put_number(head_, words_);
    const auto* const states = reinterpret_cast<const uint8_t*>(writer_.states);
    head_.insert(head_.end(), states, states + static_cast<std::size_t>(writer_.lanes) * sizeof(uint32_t));
  }

  std::size_t size() const { return head_.size() + 2 * words_; }

  uint8_t* put(uint8_t* to) const {
    std::memcpy(to, head_.data(), head_.size());
    std::memcpy(to + head_.size(), writer_.next, 2 * words_);
    return to + size();
  }

 private:
  KeptMemory kept_;
  RansWriter writer_;
  std::size_t words_;
  std::vector<uint8_t> head_;
};

void take_coded(Reader& payload, const Streams& streams, const Plan& plan, const FieldKernels& kernels) {
  const std::size_t count = payload.number();
  RansReader reader;
  reader.lanes = lanes_for(streams.coded_bytes);
  uint32_t* const end = reader.states + reader.lanes;
  const auto bytes = static_cast<std::size_t>(reader.lanes) * sizeof *reader.states;
  std::memcpy(reader.states, payload.take(bytes), bytes);
  if (std::any_of(reader.states, end, [](uint32_t x) { return x < kRansLow || x >> 16 >= kRansLow; }))
    throw PayloadError("a state is out of range");
  reader.next = payload.take(2 * count);
  reader.end = reader.next + 2 * count;
  RansSlots slots;
  for (std::size_t t = 0; t < plan.tables.size(); ++t) {
    fill(plan.tables[t], slots);
    for (const Run& run : streams.coded[t]) {
      if (!kernels.decode(slots, run.data, run.size, reader)) throw PayloadError("payload ends too early");
    }
  }
  if (reader.next != reader.end ||
      std::any_of(reader.states, end, [](uint32_t x) { return x != kRansLow; })) {
    throw PayloadError("payload is damaged");
  }
}

// Planes back to elements.
class Joiner {
 public:
  Joiner(const std::vector<ItemShape>& shapes, const Plan& plan, Planes& planes,
         const FieldKernels& kernels, uint8_t* chunk)
      : shapes_(shapes), plan_(plan), planes_(planes), kernels_(kernels), chunk_(chunk) {
    for (const ItemShape& s : shapes) {
      for (int64_t u = 0; u < s.units; ++u) begins_.push_back(s.begin + u * s.unit * s.bytes);
    }
  }

  void run() {
    for (std::size_t i = 0; i < shapes_.size(); ++i) {
      if (!plan_.items[i].coded) continue;
      const ItemShape& s = shapes_[i];
      const uint8_t* escape = planes_.of(i).escapes;
      const uint8_t* flips = planes_.of(i).flips;
      for (int64_t u = 0; u < s.units; ++u) {
        if (plan_.items[i].copied(u)) {
          copy(i, u, flips);
        } else {
          join(i, u);
          if (s.windowed()) put_escapes(i, u, escape);
        }
      }
      if (escape != planes_.of(i).escapes + plan_.items[i].escapes)
        throw PayloadError("exponents are left over");
    }
  }

 private:
  void copy(std::size_t i, int64_t u, const uint8_t*& flips) {
    const ItemShape& s = shapes_[i];
    const ItemPlan& item = plan_.items[i];
    const auto number = static_cast<std::size_t>(s.first_unit + u);
    const int64_t from = begins_[number - item.copies[static_cast<std::size_t>(u)]];
    uint8_t* to = chunk_ + begins_[number];
    const int64_t n = s.length(u), bytes = n * s.bytes;
    if (begins_[number] - from < bytes) throw PayloadError("a unit is a copy of a shorter one");
    std::memcpy(to, chunk_ + from, static_cast<std::size_t>(bytes));
    if (!item.flipped[static_cast<std::size_t>(u)]) return;
    for (int64_t k = 0; k < n; ++k) {
      const int bit = flips[k / 8] >> (k % 8) & 1;
      uint8_t& top = to[(k + 1) * s.bytes - 1];
      top = static_cast<uint8_t>(top ^ bit << 7);
    }
    flips += (n + 7) / 8;
  }

  void join(std::size_t i, int64_t u) {
    const ItemShape& s = shapes_[i];
    const ItemPlan& item = plan_.items[i];
    const ItemPlanes& p = planes_.of(i);
    const int64_t at = u * s.unit;
    const auto n = static_cast<std::size_t>(s.length(u));
    uint8_t* to = chunk_ + s.begin + at * s.bytes;
    const uint8_t* nibbles = p.nibbles + u * nibble_bytes(s.unit);
    if (s.kind == TensorKind::kBFloat16) kernels_.join_bfloat16(p.symbols + at, nibbles, n, item.top, to);
    if (s.kind == TensorKind::kFloat16) kernels_.join_float16(p.symbols + at, p.low + at, n, to);
    if (s.kind != TensorKind::kFloat32) return;
    const uint8_t narrow = item.narrow_of(u);
    if (narrow != kWide) std::memset(p.low + at, 0, n);
    if (narrow == kNothing) std::memset(p.middle + at, 0, n);
    kernels_.join_float32(p.symbols + at, nibbles, p.middle + at, p.low + at, n, item.top, to);
  }

  void put_escapes(std::size_t i, int64_t u, const uint8_t*& escape) {
    const ItemShape& s = shapes_[i];
    const auto left = static_cast<std::size_t>(planes_.of(i).escapes + plan_.items[i].escapes - escape);
    uint16_t places[kMostUnit];
    const std::size_t count = kernels_.find_escapes(planes_.of(i).symbols + u * s.unit,
                                                    static_cast<std::size_t>(s.length(u)), places);
    if (count > left) throw PayloadError("exponents are missing");
    for (std::size_t k = 0; k < count; ++k, ++escape) {
      uint8_t* last = chunk_ + s.begin + (u * s.unit + places[k] + 1) * s.bytes - 2;
      last[0] = static_cast<uint8_t>((last[0] & 127) | *escape << 7);
      last[1] = static_cast<uint8_t>((last[1] & 128) | *escape >> 1);
    }
  }

  const std::vector<ItemShape>& shapes_;
  const Plan& plan_;
  Planes& planes_;
  const FieldKernels& kernels_;
  uint8_t* const chunk_;
  std::vector<int64_t> begins_;  // of every unit's first byte
};

}  // namespace

const FieldKernels& choose_field_kernels(const std::string& isa) {
  const std::string name = choose_kernels(isa).isa;
#if defined(__x86_64__)
  if (name == "amx" || name == "avx512") return avx512::field_kernels;
  if (name == "avx2") return avx2::field_kernels;
#endif
  return portable::field_kernels;
}

void encode_fields(const std::vector<TensorItem>& items, const uint8_t* chunk, std::size_t size,
                   const std::string& isa, const std::function<uint8_t*(std::size_t)>& room) {
  const FieldKernels& kernels = choose_field_kernels(isa);
  if (field_bytes(items) != size) throw std::invalid_argument("the tensors do not fill the chunk");
  const std::vector<ItemShape> shapes = shapes_of(items);
  auto* const bytes = const_cast<uint8_t*>(chunk);  // runs serve both directions; here they are only read
  Planes planes(shapes, bytes);
  Plan plan = choose_plan(shapes, chunk, kernels, planes);
  const Streams streams = streams_of(shapes, plan, planes, bytes);
  const std::vector<uint8_t> written = write_plan(shapes, plan);
  std::vector<uint8_t> head;
  put_number(head, written.size());
  head.insert(head.end(), written.begin(), written.end());
  std::optional<CodedWriter> coded;
  if (streams.coded_bytes > 0) coded.emplace(streams, plan, kernels);
  uint8_t* to = room(head.size() + (coded ? coded->size() : 0) + streams.plain_bytes);
  to = std::copy(head.begin(), head.end(), to);
  if (coded) to = coded->put(to);
  for (const Run& run : streams.plain) to = std::copy_n(run.data, run.size, to);
}

std::size_t field_bytes(const std::vector<TensorItem>& items) {
  int64_t total = 0;
  for (const TensorItem& item : items) {
    total += item_bytes(item);
    if (total > kMaxChunk) throw std::invalid_argument("the tensors do not fit a chunk");
  }
  return static_cast<std::size_t>(total);
}

void decode_fields(const std::vector<TensorItem>& items, const uint8_t* payload, std::size_t size,
                   uint8_t* chunk, const std::string& isa) {
  const FieldKernels& kernels = choose_field_kernels(isa);
  const std::vector<ItemShape> shapes = shapes_of(items);
  Reader reader(payload, size);
  const std::size_t plan_size = reader.number();
  const Plan plan = read_plan(shapes, reader.take(plan_size), plan_size);
  Planes planes(shapes, chunk);
  planes.add_sparse(shapes, plan);
  const Streams streams = streams_of(shapes, plan, planes, chunk);
  if (streams.coded_bytes > 0) take_coded(reader, streams, plan, kernels);
  if (reader.left() != streams.plain_bytes)
    throw PayloadError("payload has another length than its plan says");
  for (const Run& run : streams.plain) {
    const uint8_t* const from = reader.take(run.size);
    // Whole planes are only read from here on, so they may stay where they are.
    if (run.plane != nullptr) {
      *run.plane = const_cast<uint8_t*>(from);
    } else {
      std::memcpy(run.data, from, run.size);
    }
  }
  Joiner(shapes, plan, planes, kernels, chunk).run();
}

}  // namespace nncodec
