#include "tensor_planes.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "tensor_blocks.h"
#include "tensor_grid.h"
#include "trellis_states.h"

namespace nncodec {

namespace {

int64_t group_of(const Mode& mode, int64_t cols) {
  return mode.group == Mode::kWholeRow ? cols : int64_t{1} << mode.group;
}

}  // namespace

Layout layout_of(TensorKind kind) {
  switch (kind) {
    case TensorKind::kFloat32: return {4, 8, 23};
    case TensorKind::kFloat16: return kHalf;
    case TensorKind::kBFloat16: return {2, 8, 7};
    case TensorKind::kFloat8E4M3: return {1, 4, 3};
    case TensorKind::kFloat8E5M2: return {1, 5, 2};
    case TensorKind::kInt16: return {2, 0, 0};
    case TensorKind::kBytes:
    case TensorKind::kInt8:
    case TensorKind::kUInt8: return kByte;
    default: break;
  }
  if (const Block* block = block_of(kind)) return {block->bytes, 0, 0};
  throw std::invalid_argument("no such kind of tensor");
}

bool valid_mode(const TensorItem& item, const Mode& mode) {
  const bool bytes = item.kind == TensorKind::kInt8 || item.kind == TensorKind::kUInt8;
  if (mode.trellis == 1 || mode.trellis > kMaxTrellis || mode.group > Mode::kWholeRow) return false;
  if (mode.form == Mode::kPlain) {
    const bool indices = item.kind == TensorKind::kInt8 || item.kind == TensorKind::kInt16;
    return !mode.twos && !mode.group && (indices || !mode.trellis);
  }
  if (mode.trellis) return false;
  if (mode.form != Mode::kGrid) return bytes;
  const bool floats = item.kind == TensorKind::kFloat32 || item.kind == TensorKind::kFloat16 ||
                      item.kind == TensorKind::kBFloat16;
  return floats && mode.group >= 5 && item.cols % group_of(mode, item.cols) == 0;
}

std::vector<Plane> planes_of(const TensorItem& item, const Mode& mode) {
  const Block* block = block_of(item, mode);
  if (mode.form == Mode::kGrid) {
    const int64_t group = group_of(mode, item.cols);
    const Layout codes{mode.twos ? 2 : 1, 0, 0};
    return {{Form::kFloat, layout_of(TensorKind::kFloat32), false, 32, item.rows, item.cols / group, 0, -1, -1, 0},
            {Form::kInteger, codes, true, 8 * codes.bytes, item.rows, item.cols, group, 0, -1, 0}};
  }
  if (!block) {
    const Layout layout = layout_of(item.kind);
    Plane plane{Form::kFloat, layout, item.kind == TensorKind::kInt8 || item.kind == TensorKind::kInt16,
                8 * layout.bytes, item.rows, item.cols, 0, -1, -1, mode.trellis};
    if (!layout.exponent) plane.form = mode.form == Mode::kSmall ? Form::kCode : Form::kInteger;
    if (plane.form == Form::kCode) plane.bits = 4;
    if (mode.group) plane.group = group_of(mode, item.cols);
    return {plane};
  }
  std::vector<Plane> planes;
  for (std::size_t i = 0; i < block->plane_bytes.size(); ++i) {
    const Layout layout = block->layouts[i];
    const int64_t cols = item.cols * (block->plane_bytes[i] / layout.bytes);
    planes.push_back({layout.exponent ? Form::kFloat : Form::kInteger, layout, block->is_signed[i], 8,
                      item.rows, cols, 0, -1, -1, 0});
  }
  Plane& codes = planes.back();
  codes.bits = block->bits;
  if (block->bits <= 5) codes.form = Form::kCode;
  codes.group = block->group;
  if (mode.group) codes.group = group_of(mode, codes.cols);
  codes.unit = block->unit;
  codes.subunit = block->subunit;
  return planes;
}

namespace {

// Where each plane begins.
std::vector<int64_t> begins(const Block& block, int64_t blocks) {
  std::vector<int64_t> at;
  int64_t sum = 0;
  for (const int bytes : block.plane_bytes) {
    at.push_back(sum);
    sum += bytes * blocks;
  }
  return at;
}

}  // namespace

void split_planes(const TensorItem& item, const Mode& mode, const uint8_t* bytes, uint8_t* planes) {
  const int64_t n = item.rows * item.cols;
  const Block* block = block_of(item, mode);
  const uint8_t flip = mode.twos ? 8 : 0;
  if (mode.form == Mode::kGrid) {
    const Grid grid = find_grid(item, bytes).value();
    const std::size_t scales = 4 * grid.scales.size();
    std::memcpy(planes, grid.scales.data(), scales);
    for (int64_t i = 0; i < n; ++i) {
      const int16_t code = grid.codes[static_cast<std::size_t>(i)];
      if (mode.twos) {
        std::memcpy(planes + scales + 2 * i, &code, 2);
      } else {
        planes[static_cast<int64_t>(scales) + i] = static_cast<uint8_t>(code);
      }
    }
    return;
  }
  if (!block) {
    const int64_t size = n * layout_of(item.kind).bytes;
    if (mode.form == Mode::kSmall) {
      for (int64_t i = 0; i < size; ++i) planes[i] = static_cast<uint8_t>(bytes[i] + flip);
    } else {
      std::memcpy(planes, bytes, static_cast<std::size_t>(size));
    }
    return;
  }
  const std::vector<int64_t> at = begins(*block, n);
  for (int64_t b = 0; b < n; ++b) {
    const uint8_t* const from = bytes + b * block->bytes;
    for (const Field& f : block->fields) {
      const auto plane = static_cast<std::size_t>(f.plane);
      uint8_t& to = planes[at[plane] + b * block->plane_bytes[plane] + f.index];
      const auto part = static_cast<uint8_t>((from[f.byte] >> f.shift & ((1 << f.width) - 1)) << f.into);
      to = static_cast<uint8_t>(f.into ? to | part : part ^ flip);
    }
  }
}

void join_planes(const TensorItem& item, const Mode& mode, const uint8_t* planes, uint8_t* bytes) {
  const int64_t n = item.rows * item.cols;
  const Block* block = block_of(item, mode);
  const uint8_t flip = mode.twos ? 8 : 0;
  if (mode.form == Mode::kGrid) {
    const int64_t group = group_of(mode, item.cols), width = layout_of(item.kind).bytes;
    const uint8_t* const codes = planes + 4 * (n / group);
    for (int64_t i = 0; i < n; ++i) {
      uint32_t scale;
      std::memcpy(&scale, planes + 4 * (i / group), 4);
      int16_t code = 0;
      if (mode.twos) {
        std::memcpy(&code, codes + 2 * i, 2);
      } else {
        code = static_cast<int8_t>(codes[i]);
      }
      const uint32_t v = grid_value(item.kind, code, scale);
      std::memcpy(bytes + i * width, &v, static_cast<std::size_t>(width));
    }
    return;
  }
  if (!block) {
    const int64_t size = n * layout_of(item.kind).bytes;
    if (mode.form == Mode::kSmall) {
      for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(planes[i] - flip);
    } else {
      std::memcpy(bytes, planes, static_cast<std::size_t>(size));
    }
    return;
  }
  const std::vector<int64_t> at = begins(*block, n);
  std::memset(bytes, 0, static_cast<std::size_t>(n * block->bytes));
  for (int64_t b = 0; b < n; ++b) {
    uint8_t* const to = bytes + b * block->bytes;
    for (const Field& f : block->fields) {
      const auto plane = static_cast<std::size_t>(f.plane);
      const int from = planes[at[plane] + b * block->plane_bytes[plane] + f.index] ^ flip;
      to[f.byte] = static_cast<uint8_t>(to[f.byte] | (from >> f.into & ((1 << f.width) - 1)) << f.shift);
    }
  }
}

}  // namespace nncodec
