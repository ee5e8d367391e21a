// The loops of the field coder, once per instruction set (field_kernels.inl, field_rans.inl). All give
// the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace nncodec {

// Interleaved rANS: states in [kRansLow, kRansLow << 16), words of 16 bits, frequencies of 12 bits.
constexpr int kFrequencyBits = 12;
constexpr uint32_t kRansLow = 1u << 15, kFrequencyTotal = 1u << kFrequencyBits;

// Symbol i of a run belongs to lane i mod lanes. More lanes wait less for each other, but a state is four
// bytes: so many symbols must pay for them.
constexpr int kFewLanes = 32, kManyLanes = 64;
constexpr std::size_t kForManyLanes = 1 << 20;
constexpr int lanes_for(std::size_t symbols) { return symbols < kForManyLanes ? kFewLanes : kManyLanes; }

// What a decoder looks up for the low 12 bits of a state: symbol | frequency << 8 | offset << 20.
struct RansSlots {
  uint32_t of[kFrequencyTotal];
};

// What an encoder needs of a symbol: frequency | start << 12 | shift << 25, and in the upper half the
// division by the frequency as a multiplication.
struct RansSymbols {
  uint64_t of[256];
};

struct RansReader {
  int lanes;  // kFewLanes or kManyLanes
  uint32_t states[kManyLanes];
  const uint8_t *next, *end;  // words, at any address; nothing lies behind the end
};

struct RansWriter {
  int lanes;
  uint32_t states[kManyLanes];
  uint16_t* next;  // grows downwards; kRansSlack words below it are free for nonsense
};
constexpr int kRansSlack = 16;

// How float32's and bfloat16's upper half is cut: the slot of exponent e is e + 15 - top, if that lies in
// lowest..15; 0 is for the exponent 0, 1 for an exponent that is written elsewhere.
struct Window {
  int top, lowest;
};

struct FieldKernels {
  const char* isa;
  // `n` symbols that end a run, in groups of a lane each. False if the words end before the symbols.
  bool (*decode)(const RansSlots&, uint8_t* symbols, std::size_t n, RansReader&);
  void (*encode)(const RansSymbols&, const uint8_t* symbols, std::size_t n, RansWriter&);
  // Elements to planes and back; a nibble plane has two elements a byte, the first one low.
  void (*split_bfloat16)(const uint8_t* from, std::size_t n, Window, uint8_t* symbols, uint8_t* nibbles);
  // Returns the disjunction of all low halves.
  uint32_t (*split_float32)(const uint8_t* from, std::size_t n, Window, uint8_t* symbols, uint8_t* nibbles,
                            uint8_t* middle, uint8_t* low);
  void (*split_float16)(const uint8_t* from, std::size_t n, uint8_t* symbols, uint8_t* low);
  void (*join_bfloat16)(const uint8_t* symbols, const uint8_t* nibbles, std::size_t n, int top,
                        uint8_t* to);
  void (*join_float32)(const uint8_t* symbols, const uint8_t* nibbles, const uint8_t* middle,
                       const uint8_t* low, std::size_t n, int top, uint8_t* to);
  void (*join_float16)(const uint8_t* symbols, const uint8_t* low, std::size_t n, uint8_t* to);
  // Places of symbols whose slot is 1, to `places`, which has room for all; returns how many.
  std::size_t (*find_escapes)(const uint8_t* symbols, std::size_t n, uint16_t* places);
  // Sums of the symbols without their top bits, and of their distances to zero as int8.
  uint64_t (*sum_magnitudes)(const uint8_t* symbols, std::size_t n);
  uint64_t (*sum_distances)(const uint8_t* symbols, std::size_t n);
};

namespace portable {
extern const FieldKernels field_kernels;
}
namespace avx2 {
extern const FieldKernels field_kernels;
}
namespace avx512 {
extern const FieldKernels field_kernels;
}

// The kernels that go with one of available_isas(), or the best here. Throws std::invalid_argument.
const FieldKernels& choose_field_kernels(const std::string& isa);

}  // namespace nncodec
