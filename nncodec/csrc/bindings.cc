// Python's view of the core. Shapes and dtypes are checked here, once, by the argument types.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "block_coder.h"
#include "byte_store.h"
#include "delta_coder.h"
#include "engine.h"
#include "field_coder.h"
#include "mixed_coder.h"
#include "range_coder.h"
#include "roofline.h"
#include "tensor_coder.h"
#include "trace.h"
#include "trellis.h"
#include "x86_filter.h"
#include "xxh64.h"

namespace nb = nanobind;
using nncodec::kSymbols;

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<const int32_t, nb::shape<-1, kSymbols>, nb::c_contig, nb::device::cpu>;

namespace {

void encode(nncodec::RangeEncoder& self, const Counts& counts, const Bytes& symbols) {
  if (counts.shape(0) != symbols.shape(0)) {
    throw std::invalid_argument("counts and symbols differ in length");
  }
  nb::gil_scoped_release unlocked;
  for (std::size_t i = 0; i < symbols.shape(0); ++i) {
    self.encode(counts.data() + i * kSymbols, symbols.data()[i]);
  }
}

nb::bytes finish(nncodec::RangeEncoder& self) {
  const std::vector<uint8_t> out = self.finish();
  return nb::bytes(out.data(), out.size());
}

nb::bytes decode(nncodec::RangeDecoder& self, const Counts& counts) {
  std::vector<char> symbols(counts.shape(0));
  {
    nb::gil_scoped_release unlocked;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      symbols[i] = static_cast<char>(self.decode(counts.data() + i * kSymbols));
    }
  }
  return nb::bytes(symbols.data(), symbols.size());
}

using WideCounts = nb::ndarray<const uint32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Row by row of (n, symbols) counts.
void encode_wide(nncodec::RangeEncoder& self, const WideCounts& counts, const Ids& symbols) {
  const std::size_t n = counts.shape(0), width = counts.shape(1);
  if (n != symbols.shape(0)) throw std::invalid_argument("counts and symbols differ in length");
  // A copy: another thread may write to the array once the lock on Python is released.
  const std::vector<int32_t> own(symbols.data(), symbols.data() + n);
  for (int32_t symbol : own) {
    if (symbol < 0 || static_cast<std::size_t>(symbol) >= width) {
      throw std::invalid_argument("a symbol has no count");
    }
  }
  nb::gil_scoped_release unlocked;
  for (std::size_t i = 0; i < n; ++i) {
    self.encode_wide(counts.data() + i * width, width, static_cast<std::size_t>(own[i]));
  }
}

template <class T>
nb::object owned_array(std::vector<T> values, std::size_t width = 1);

nb::object decode_wide(nncodec::RangeDecoder& self, const WideCounts& counts) {
  const std::size_t n = counts.shape(0), width = counts.shape(1);
  if (width == 0) throw std::invalid_argument("there are no counts");
  std::vector<int32_t> symbols(n);
  {
    nb::gil_scoped_release unlocked;
    for (std::size_t i = 0; i < n; ++i) {
      symbols[i] = static_cast<int32_t>(self.decode_wide(counts.data() + i * width, width));
    }
  }
  return owned_array(std::move(symbols));
}

using Codes = nb::ndarray<const int8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Tokens = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Reads tensors by name and holds them to the shapes that the config promises.
class TensorReader {
 public:
  explicit TensorReader(const nb::dict& tensors) : tensors_(tensors) {}

  Codes codes(const std::string& name, int out, int in) const {
    auto value = nb::cast<Codes>(tensors_[name.c_str()]);
    check(name, value.shape(0) == static_cast<std::size_t>(out) &&
                    value.shape(1) == static_cast<std::size_t>(in));
    return value;
  }

  std::vector<float> floats(const std::string& name, int n) const {
    auto value = nb::cast<Floats>(tensors_[name.c_str()]);
    check(name, value.shape(0) == static_cast<std::size_t>(n));
    return {value.data(), value.data() + n};
  }

  nncodec::Matrix matrix(const std::string& name, int out, int in) const {
    const Codes weight = codes(name + ".weight", out, in);
    const std::vector<float> scale = floats(name + ".scale", out);
    return {weight.data(), scale.data(), out, in};
  }

 private:
  static void check(const std::string& name, bool fits) {
    if (!fits) throw std::invalid_argument(name + " has a shape other than the config's");
  }
  const nb::dict& tensors_;
};

// The limits of nncodec/config.py once more: buffers here are sized by them.
int bounded(const nb::dict& config, const char* name, int most) {
  const int value = nb::cast<int>(config[name]);
  if (value < 1 || value > most) {
    throw std::invalid_argument(std::string(name) + " must lie in 1.." + std::to_string(most));
  }
  return value;
}

nncodec::Ngrams read_ngrams(const nb::dict& config, const TensorReader& read, int d_model) {
  nncodec::Ngrams g;
  g.orders = nb::cast<std::vector<int32_t>>(config["ngram_orders"]);
  if (g.orders.empty()) return g;
  if (g.orders.size() > nncodec::kMaxOrder) throw std::invalid_argument("too many ngram_orders");
  for (int order : g.orders) {
    if (order < 1 || order > nncodec::kMaxOrder) {
      throw std::invalid_argument("ngram_orders must lie in 1.." + std::to_string(nncodec::kMaxOrder));
    }
  }
  const int tables = static_cast<int>(g.orders.size());
  g.bits = bounded(config, "ngram_bits", 24);
  g.width = bounded(config, "ngram_width", 1024);
  const Codes table = read.codes("ngrams.table", tables << g.bits, g.width);
  g.table.assign(table.data(), table.data() + table.size());
  g.proj = read.matrix("ngrams.proj", d_model, tables * g.width);
  return g;
}

// Followed by zeros up to a multiple of 16.
nncodec::Buffer<float> padded(const std::vector<float>& values) {
  nncodec::Buffer<float> result(values.begin(), values.end());
  result.resize(static_cast<std::size_t>(nncodec::round_up(static_cast<int>(values.size()), 16)));
  return result;
}

// The gate's rows, then the others, each padded to whole blocks of 16.
nncodec::Matrix read_gated(const TensorReader& read, const std::string& name, int d_ff, int d_model) {
  const Codes weight = read.codes(name + ".weight", 2 * d_ff, d_model);
  const std::vector<float> scale = read.floats(name + ".scale", 2 * d_ff);
  const auto half = static_cast<std::size_t>(nncodec::round_up(d_ff, 16)), D = static_cast<std::size_t>(d_model);
  const auto F = static_cast<std::size_t>(d_ff);
  std::vector<int8_t> codes(2 * half * D);
  std::vector<float> scales(2 * half);
  for (std::size_t part : {0, 1}) {
    std::copy_n(weight.data() + part * F * D, F * D, codes.data() + part * half * D);
    std::copy_n(scale.data() + part * F, F, scales.data() + part * half);
  }
  return {codes.data(), scales.data(), static_cast<int>(2 * half), d_model};
}

void read_causal(const nb::dict& config, const TensorReader& read, nncodec::Model& m) {
  const int heads = m.n_heads * m.head_dim, kv = m.n_kv_heads * m.head_dim;
  const int layers = bounded(config, "n_layers", 128), context = bounded(config, "context", 4096);
  m.vocabulary = bounded(config, "vocab_size", 1 << 18);
  m.attention_one = std::min(65535, (1 << 24) / context - 1);
  const Codes embed = read.codes("embed.weight", m.vocabulary, m.d_model);
  m.embed.assign(embed.data(), embed.data() + embed.size());
  m.embed_scale = read.floats("embed.scale", m.vocabulary);
  m.head = read.matrix("head", bounded(config, "n_symbols", 1 << 18), m.d_model);
  if (m.head.out < 2) throw std::invalid_argument("a model over tokens predicts two or more");
  m.head_balance = padded(read.floats("head.balance", m.d_model));
  const std::vector<float> eps = read.floats("eps", 2);
  m.eps = eps[0];
  m.head_eps = eps[1];
  for (int i = 0; i < layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    nncodec::Layer layer;
    layer.window = context;
    layer.qkv = read.matrix(block + "qkv", heads + 2 * kv, m.d_model);
    layer.out = read.matrix(block + "out", m.d_model, heads);
    layer.up = read_gated(read, block + "up", m.d_ff, m.d_model);
    layer.down = read.matrix(block + "down", m.d_model, m.d_ff);
    layer.gain = read.floats(block + "gain", m.n_heads);
    nncodec::CausalLayer& c = layer.causal;
    c.attention_balance = padded(read.floats(block + "qkv.balance", m.d_model));
    c.mlp_balance = padded(read.floats(block + "up.balance", m.d_model));
    if (nb::cast<int>(config["qkv_bias"]) != 0) c.bias = padded(read.floats(block + "qkv.bias", heads + 2 * kv));
    if (nb::cast<int>(config["qk_norm"]) != 0) {
      c.q_norm = padded(read.floats(block + "q_norm", m.head_dim));
      c.k_norm = padded(read.floats(block + "k_norm", m.head_dim));
    }
    m.layers.push_back(std::move(layer));
  }
}

nncodec::Model read_model(const nb::dict& config, const nb::dict& tensors, const Floats& cos,
                          const Floats& sin) {
  nncodec::Model m;
  m.d_model = bounded(config, "d_model", 8192);
  m.n_heads = bounded(config, "n_heads", 256);
  m.n_kv_heads = bounded(config, "n_kv_heads", 256);
  m.head_dim = bounded(config, "head_dim", 256);
  m.d_ff = bounded(config, "d_ff", 32768);
  m.rope_period = bounded(config, "rope_period", 1 << 20);
  m.turns = nb::cast<std::vector<int32_t>>(config["rope_multipliers"]);
  const auto period = static_cast<std::size_t>(m.rope_period);
  if (cos.shape(0) != period || sin.shape(0) != period || m.head_dim % 2 != 0 ||
      m.turns.size() != static_cast<std::size_t>(m.head_dim / 2) || m.n_heads % m.n_kv_heads != 0) {
    throw std::invalid_argument("rotary tables or heads do not fit the config");
  }
  for (int turn : m.turns) {
    if (turn < 0 || turn >= m.rope_period) throw std::invalid_argument("a rotary turn is too large");
  }
  m.cos.assign(cos.data(), cos.data() + period);
  m.sin.assign(sin.data(), sin.data() + period);
  const TensorReader read(tensors);
  if (config.contains("n_symbols")) {
    read_causal(config, read, m);
    return m;
  }
  const int heads = m.n_heads * m.head_dim, kv = m.n_kv_heads * m.head_dim;
  const Codes embed = read.codes("embed.weight", 257, m.d_model);
  m.embed.assign(embed.data(), embed.data() + embed.size());
  m.embed_scale = read.floats("embed.scale", 257);
  m.head = read.matrix("head", 256, m.d_model);
  m.ngrams = read_ngrams(config, read, m.d_model);
  for (int window : nb::cast<std::vector<int>>(config["windows"])) {
    if (window < 1 || window > 4096) throw std::invalid_argument("a window must lie in 1..4096");
    if (m.layers.size() == 128) throw std::invalid_argument("a model has at most 128 layers");
    const std::string block = "blocks." + std::to_string(m.layers.size()) + ".";
    nncodec::Layer layer;
    layer.window = window;
    layer.qkv = read.matrix(block + "qkv", heads + 2 * kv, m.d_model);
    layer.out = read.matrix(block + "out", m.d_model, heads);
    layer.up = read.matrix(block + "up", m.d_ff, m.d_model);
    layer.down = read.matrix(block + "down", m.d_model, m.d_ff);
    layer.gain = read.floats(block + "gain", m.n_heads);
    m.layers.push_back(std::move(layer));
  }
  return m;
}

nb::object advance(nncodec::State& self, const Tokens& tokens) {
  const std::size_t lanes = tokens.shape(0), steps = tokens.shape(1);
  // A copy: another thread may write to the array once the lock on Python is released.
  const std::vector<int32_t> own(tokens.data(), tokens.data() + tokens.size());
  for (int32_t token : own) {
    if (token < 0 || token > 256) throw std::invalid_argument("tokens must lie in 0..256");
  }
  std::unique_ptr<int32_t[]> counts(new int32_t[lanes * steps * kSymbols]);
  {
    nb::gil_scoped_release unlocked;
    self.advance(own.data(), static_cast<int>(lanes), static_cast<int>(steps), counts.get());
  }
  int32_t* data = counts.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<int32_t*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, int32_t>(data, {lanes, steps, kSymbols}, owner));
}

nb::object advance_wide(nncodec::State& self, const Tokens& tokens, int wanted) {
  const std::size_t lanes = tokens.shape(0), steps = tokens.shape(1);
  if (steps > 4096 || wanted < 0 || static_cast<std::size_t>(wanted) > steps) {
    throw std::invalid_argument("counts of positions wanted that there are none of");
  }
  const nncodec::Model& m = self.model();
  const std::vector<int32_t> own(tokens.data(), tokens.data() + tokens.size());
  for (int32_t token : own) {
    if (token < 0 || token >= m.vocabulary) {
      throw std::invalid_argument("tokens must lie in 0.." + std::to_string(m.vocabulary - 1));
    }
  }
  const std::size_t count = static_cast<std::size_t>(wanted), outputs = static_cast<std::size_t>(m.head.out);
  std::unique_ptr<uint32_t[]> counts(new uint32_t[lanes * count * outputs]);
  {
    nb::gil_scoped_release unlocked;
    self.advance_wide(own.data(), static_cast<int>(lanes), static_cast<int>(steps), wanted, counts.get());
  }
  uint32_t* data = counts.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<uint32_t*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, uint32_t>(data, {lanes, count, outputs}, owner));
}

void init_block_coder(nncodec::BlockCoder* self, nncodec::Engine* engine, int64_t size, int lanes,
                      int64_t prefix, int table_bits, const Bytes& input, bool decode,
                      const std::string& isa, bool trace) {
  using Direction = nncodec::BlockCoder::Direction;
  if (engine && engine->model().causal()) throw std::invalid_argument("a model over tokens codes no bytes");
  new (self) nncodec::BlockCoder(engine, {size, lanes, prefix}, table_bits,
                                 decode ? Direction::kDecode : Direction::kEncode, input.data(),
                                 input.size(), isa, trace);
}

// (n,) values, or (n / width, width) of them, as an array that owns them.
template <class T>
nb::object owned_array(std::vector<T> values, std::size_t width) {
  auto* const kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  const std::size_t rows = kept->size() / width;
  if (width == 1) return nb::cast(nb::ndarray<nb::numpy, T>(kept->data(), {rows}, owner));
  return nb::cast(nb::ndarray<nb::numpy, T>(kept->data(), {rows, width}, owner));
}

using MixedEncoder = nncodec::MixedCoder<nncodec::Encode>;
using MixedDecoder = nncodec::MixedCoder<nncodec::Decode>;

nncodec::Network network(bool learning) {
  return learning ? nncodec::Network::kLearning : nncodec::Network::kTrained;
}

// What each of the bytes cost, (n,).
nb::object encode_mixed(MixedEncoder& self, const Counts& counts, const Bytes& symbols) {
  if (counts.shape(0) != symbols.shape(0)) {
    throw std::invalid_argument("counts and symbols differ in length");
  }
  std::vector<uint8_t> own(symbols.data(), symbols.data() + symbols.shape(0));
  std::vector<uint32_t> cost(own.size());
  {
    nb::gil_scoped_release unlocked;
    self.code(counts.data(), own.data(), own.size(), cost.data());
  }
  return owned_array(std::move(cost));
}

nb::bytes decode_mixed(MixedDecoder& self, const Counts& counts) {
  std::vector<uint8_t> symbols(counts.shape(0));
  {
    nb::gil_scoped_release unlocked;
    self.code(counts.data(), symbols.data(), symbols.size());
  }
  return nb::bytes(symbols.data(), symbols.size());
}

nb::dict take_trace(nncodec::BlockCoder& self) {
  nncodec::Trace trace = self.take_trace();
  nb::dict result;
  result["cost"] = owned_array(std::move(trace.cost));
  result["network"] = owned_array(std::move(trace.network));
  result["top"] = owned_array(std::move(trace.top), nncodec::kCandidates);
  result["top_p"] = owned_array(std::move(trace.top_p), nncodec::kCandidates);
  result["rank"] = owned_array(std::move(trace.rank));
  result["expected"] = owned_array(std::move(trace.expected));
  result["match_length"] = owned_array(std::move(trace.match_length));
  return result;
}

nb::object x86_filter(const Bytes& input, bool decode) {
  const std::size_t size = input.shape(0);
  std::unique_ptr<uint8_t[]> out(new uint8_t[size]);
  std::copy_n(input.data(), size, out.get());  // under Python's lock, as in advance()
  {
    nb::gil_scoped_release unlocked;
    (decode ? nncodec::x86_decode : nncodec::x86_encode)(out.get(), size);
  }
  uint8_t* data = out.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<uint8_t*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, uint8_t>(data, {size}, owner));
}

constexpr int kLastField = static_cast<int>(nncodec::TensorKind::kUInt8);
using Items = std::vector<std::tuple<int, int, int64_t, int64_t>>;

// `most`: kinds up to this one are known to who asks; 255: it says so itself.
std::vector<nncodec::TensorItem> read_items(const Items& items, int most = 255) {
  std::vector<nncodec::TensorItem> result;
  result.reserve(items.size());
  for (const auto& [kind, role, rows, cols] : items) {
    if (kind < 0 || kind > most || role < 0 || role > 255) {
      throw std::invalid_argument("no such kind of tensor, or its role is not in 0..255");
    }
    result.push_back({static_cast<nncodec::TensorKind>(kind), static_cast<uint8_t>(role), rows, cols});
  }
  return result;
}

nb::bytes code_tensors(const Items& items, const Bytes& input, bool decode, const std::string& isa) {
  const std::vector<nncodec::TensorItem> list = read_items(items);
  const std::vector<uint8_t> own(input.data(), input.data() + input.shape(0));
  std::vector<uint8_t> out;
  {
    nb::gil_scoped_release unlocked;
    out = (decode ? nncodec::decode_tensors : nncodec::encode_tensors)(list, own.data(), own.size(), isa);
  }
  return nb::bytes(out.data(), out.size());
}

using Rates = nb::ndarray<const int32_t, nb::shape<2, -1>, nb::c_contig, nb::device::cpu>;

nb::object trellis_quantize(const Tokens& positions, const Rates& rates, int states, int odd_state,
                            int odd_index) {
  if (odd_state < 0 || odd_state > 63 || odd_index < 0 || odd_index > 63) {
    throw std::invalid_argument("a trellis of 64 states has no bits beyond 63");
  }
  const std::size_t rows = positions.shape(0), cols = positions.shape(1);
  const nncodec::TrellisCode code{states, static_cast<uint8_t>(odd_state),
                                  static_cast<uint8_t>(odd_index)};
  // Copies: another thread may write to the arrays once the lock on Python is released.
  const std::vector<int32_t> own(positions.data(), positions.data() + rows * cols);
  const std::vector<int32_t> costs(rates.data(), rates.data() + rates.size());
  std::vector<int32_t> out;
  {
    nb::gil_scoped_release unlocked;
    out = nncodec::trellis_quantize(code, own.data(), rows, cols, costs.data(), rates.shape(1));
  }
  std::unique_ptr<int32_t[]> indices(new int32_t[out.size()]);
  std::copy(out.begin(), out.end(), indices.get());
  int32_t* data = indices.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<int32_t*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, int32_t>(data, {rows, cols}, owner));
}

nb::object new_bytes(std::size_t size) {
  nb::object result = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!result.is_valid()) throw std::bad_alloc();
  return result;
}

uint8_t* bytes_of(const nb::object& bytes) {
  return reinterpret_cast<uint8_t*>(PyBytes_AsString(bytes.ptr()));
}

nb::object code_fields(const Items& items, const Bytes& input, bool decode, const std::string& isa) {
  // No copy: this is to be fast, and if another thread should write to the input, the result is nonsense,
  // but stays in bounds, since no length is read twice.
  const std::vector<nncodec::TensorItem> list = read_items(items, kLastField);
  if (!decode) {
    nb::object result;
    nb::gil_scoped_release unlocked;
    nncodec::encode_fields(list, input.data(), input.shape(0), isa, [&](std::size_t size) {
      nb::gil_scoped_acquire locked;
      result = new_bytes(size);
      return bytes_of(result);
    });
    return result;
  }
  nb::object result = new_bytes(nncodec::field_bytes(list));
  uint8_t* const out = bytes_of(result);
  nb::gil_scoped_release unlocked;
  nncodec::decode_fields(list, input.data(), input.shape(0), out, isa);
  return result;
}

// The same, to bytes `at` of a store; returns their checksum.
uint64_t decode_fields_into(nncodec::ByteStore& store, std::size_t at, const Items& items,
                            const Bytes& input, const std::string& isa) {
  const std::vector<nncodec::TensorItem> list = read_items(items, kLastField);
  const std::size_t size = nncodec::field_bytes(list);
  const nncodec::ByteStore::Use use(store, at, size);
  nb::gil_scoped_release unlocked;
  nncodec::decode_fields(list, input.data(), input.shape(0), use.data(), isa);
  return nncodec::xxh64(use.data(), size);
}

void put_into(nncodec::ByteStore& store, std::size_t at, const Bytes& data) {
  const nncodec::ByteStore::Use use(store, at, data.shape(0));
  nb::gil_scoped_release unlocked;
  std::copy_n(data.data(), data.shape(0), use.data());
}

void write_to(nncodec::ByteStore& store, const Bytes& data) {
  put_into(store, store.claim(data.shape(0)), data);
}

using Deltas = std::vector<std::tuple<int, int, int64_t, int64_t, int>>;

std::vector<nncodec::DeltaItem> read_deltas(const Deltas& items) {
  std::vector<nncodec::DeltaItem> result;
  result.reserve(items.size());
  for (const auto& [kind, role, rows, cols, mode] : items) {
    if (mode < 0 || mode > 255) throw std::invalid_argument("a delta's mode must lie in 0..255");
    result.push_back({read_items({{kind, role, rows, cols}})[0], static_cast<nncodec::DeltaMode>(mode)});
  }
  return result;
}

std::vector<uint8_t> copied(const Bytes& input) { return {input.data(), input.data() + input.shape(0)}; }

nb::bytes code_deltas(const Deltas& items, const Bytes& base, const Bytes& input, bool decode,
                      const std::string& isa) {
  const std::vector<nncodec::DeltaItem> list = read_deltas(items);
  if (!decode && base.shape(0) != input.shape(0)) {
    throw std::invalid_argument("the base does not fill the chunk");
  }
  const std::vector<uint8_t> own = copied(input), other = copied(base);
  std::vector<uint8_t> out;
  {
    nb::gil_scoped_release unlocked;
    out = decode ? nncodec::decode_deltas(list, other.data(), other.size(), own.data(), own.size(), isa)
                 : nncodec::encode_deltas(list, other.data(), own.data(), own.size(), isa);
  }
  return nb::bytes(out.data(), out.size());
}

std::vector<std::size_t> measure_deltas(const Deltas& items, const Bytes& base, const Bytes& input,
                                        const std::string& isa) {
  const std::vector<nncodec::DeltaItem> list = read_deltas(items);
  if (base.shape(0) != input.shape(0)) throw std::invalid_argument("the base does not fill the chunk");
  const std::vector<uint8_t> own = copied(input), other = copied(base);
  nb::gil_scoped_release unlocked;
  return nncodec::measure_deltas(list, other.data(), own.data(), own.size(), isa);
}

nb::dict stage_seconds(nncodec::Engine& self) {
  const char* const names[] = {"products", "attention", "norms", "counts", "coding"};
  static_assert(std::size(names) == nncodec::kStages);
  const auto ns = self.stage_ns();
  nb::dict result;
  for (int i = 0; i < nncodec::kStages; ++i) {
    result[names[i]] = static_cast<double>(ns[static_cast<std::size_t>(i)]) * 1e-9;
  }
  return result;
}

}  // namespace

NB_MODULE(_core, m) {
  nb::exception<nncodec::PayloadError>(m, "PayloadError", PyExc_ValueError);

  nb::class_<nncodec::RangeEncoder>(m, "RangeEncoder")
      .def(nb::init<>())
      .def("encode", &encode, nb::arg("counts").noconvert(), nb::arg("symbols").noconvert())
      .def("encode_wide", &encode_wide, nb::arg("counts").noconvert(), nb::arg("symbols").noconvert())
      .def("finish", &finish);

  nb::class_<nncodec::RangeDecoder>(m, "RangeDecoder")
      .def(
          "__init__",
          [](nncodec::RangeDecoder* self, const Bytes& payload) {
            new (self) nncodec::RangeDecoder(payload.data(), payload.size());
          },
          nb::arg("payload"))
      .def("decode", &decode, nb::arg("counts").noconvert())
      .def("decode_wide", &decode_wide, nb::arg("counts").noconvert())
      .def("finish", &nncodec::RangeDecoder::finish);

  nb::class_<nncodec::Engine>(m, "Engine")
      .def(
          "__init__",
          [](nncodec::Engine* self, const nb::dict& config, const nb::dict& tensors,
             const Floats& cos, const Floats& sin, int threads, const std::string& isa) {
            if (threads < 1 || threads > 1024) {
              throw std::invalid_argument("threads must lie in 1..1024");
            }
            new (self) nncodec::Engine(read_model(config, tensors, cos, sin), threads, isa);
          },
          nb::arg("config"), nb::arg("tensors"), nb::arg("cos"), nb::arg("sin"),
          nb::arg("threads"), nb::arg("isa"))
      .def_prop_ro("isa", &nncodec::Engine::isa)
      .def_prop_ro("threads", &nncodec::Engine::threads)
      .def("measure", &nncodec::Engine::measure, nb::arg("on"))
      .def("stage_seconds", &stage_seconds);

  nb::class_<nncodec::State>(m, "State")
      .def(nb::init<nncodec::Engine&>(), nb::arg("engine"), nb::keep_alive<1, 2>())
      .def("fork", &nncodec::State::fork, nb::arg("lanes"))
      .def("advance", &advance, nb::arg("tokens").noconvert())
      .def("advance_wide", &advance_wide, nb::arg("tokens").noconvert(), nb::arg("wanted"));

  nb::class_<nncodec::BlockCoder>(m, "BlockCoder")
      .def("__init__", &init_block_coder, nb::arg("engine").none(), nb::arg("size"),
           nb::arg("lanes"), nb::arg("prefix"), nb::arg("table_bits"),
           nb::arg("input").noconvert(), nb::arg("decode"), nb::arg("isa") = "",
           nb::arg("trace") = false, nb::keep_alive<1, 2>())
      .def("run", &nncodec::BlockCoder::run, nb::arg("bytes"),
           nb::call_guard<nb::gil_scoped_release>())
      .def("finish", [](nncodec::BlockCoder& self) {
        const std::vector<uint8_t> out = self.finish();
        return nb::bytes(out.data(), out.size());
      })
      .def("take_trace", &take_trace);

  nb::class_<MixedEncoder>(m, "MixedEncoder")
      .def(
          "__init__",
          [](MixedEncoder* self, int64_t size, int lanes, int64_t prefix, int table_bits,
             bool learning, const std::string& isa) {
            new (self) MixedEncoder({size, lanes, prefix}, table_bits, network(learning), isa);
          },
          nb::arg("size"), nb::arg("lanes"), nb::arg("prefix"), nb::arg("table_bits"),
          nb::arg("learning"), nb::arg("isa"))
      .def_prop_ro("done", &MixedEncoder::done)
      .def("encode", &encode_mixed, nb::arg("counts").noconvert(), nb::arg("symbols").noconvert())
      .def("finish", [](MixedEncoder& self) {
        const std::vector<uint8_t> out = self.finish();
        return nb::bytes(out.data(), out.size());
      });

  nb::class_<MixedDecoder>(m, "MixedDecoder")
      .def(
          "__init__",
          [](MixedDecoder* self, int64_t size, int lanes, int64_t prefix, int table_bits,
             const Bytes& payload, bool learning, const std::string& isa) {
            new (self) MixedDecoder({size, lanes, prefix}, table_bits, network(learning), isa,
                                    payload.data(), payload.size());
          },
          nb::arg("size"), nb::arg("lanes"), nb::arg("prefix"), nb::arg("table_bits"),
          nb::arg("payload"), nb::arg("learning"), nb::arg("isa"))
      .def_prop_ro("done", &MixedDecoder::done)
      .def("decode", &decode_mixed, nb::arg("counts").noconvert())
      .def("finish", [](MixedDecoder& self) { self.finish(); });

  m.def("available_isas", &nncodec::available_isas);
  m.def("measure_multiply", &nncodec::measure_multiply, nb::arg("isa"), nb::arg("out"),
        nb::arg("in_"), nb::arg("rows"), nb::arg("seconds"),
        nb::call_guard<nb::gil_scoped_release>());
  m.def("measure_bare", &nncodec::measure_bare, nb::arg("isa"), nb::arg("seconds"),
        nb::call_guard<nb::gil_scoped_release>());

  m.def(
      "xxh64",
      [](const Bytes& data, uint64_t seed) {
        nb::gil_scoped_release unlocked;
        return nncodec::xxh64(data.data(), data.size(), seed);
      },
      nb::arg("data"), nb::arg("seed") = 0);
  m.def("code_tensors", &code_tensors, nb::arg("items"), nb::arg("data").noconvert(),
        nb::arg("decode"), nb::arg("isa"));
  m.def("trellis_quantize", &trellis_quantize, nb::arg("positions").noconvert(),
        nb::arg("rates").noconvert(), nb::arg("states"), nb::arg("odd_state"),
        nb::arg("odd_index"));
  nb::class_<nncodec::ByteStore>(m, "ByteStore")
      .def(nb::init<std::size_t>(), nb::arg("expected"))
      .def_prop_ro("room", &nncodec::ByteStore::room)
      .def("claim", &nncodec::ByteStore::claim, nb::arg("size"))
      .def("put", &put_into, nb::arg("at"), nb::arg("data"))
      .def("write", &write_to, nb::arg("data"))
      .def("decode_fields", &decode_fields_into, nb::arg("at"), nb::arg("items"),
           nb::arg("data").noconvert(), nb::arg("isa"))
      .def("take", [](nncodec::ByteStore& self) { return nb::steal<nb::bytes>(self.take()); });
  m.def("code_fields", &code_fields, nb::arg("items"), nb::arg("data").noconvert(),
        nb::arg("decode"), nb::arg("isa"));
  m.def("code_deltas", &code_deltas, nb::arg("items"), nb::arg("base").noconvert(),
        nb::arg("data").noconvert(), nb::arg("decode"), nb::arg("isa"));
  m.def("measure_deltas", &measure_deltas, nb::arg("items"), nb::arg("base").noconvert(),
        nb::arg("data").noconvert(), nb::arg("isa"));
  m.def("x86_filter", &x86_filter, nb::arg("data"), nb::arg("decode"));
}
