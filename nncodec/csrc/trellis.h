// Dependent ("trellis-coded") quantisation: the cheapest path of indices through a row of weights.
//
// Sources: T. R. Fischer and M. Wang, "Entropy-constrained trellis-coded quantization" (1992); the
// union quantisers and the parity rule of H. Schwarz et al., "Hybrid video coding with trellis-coded
// quantization" (DCC 2019), as in VVC and ISO/IEC 15938-17; G. Ungerboeck's codes for the states.
// The readable twin, which says what an index means, is nncodec/lossy/trellis.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nncodec {

inline constexpr int kTrellisScale = 256;             // of positions: so many to a step
inline constexpr int32_t kTrellisMostRate = 1 << 23;  // of one index, in squared positions
inline constexpr int32_t kTrellisMostIndex = 32767;

struct TrellisCode {
  int states = 0;        // 4, 8, 16, 32 or 64
  uint8_t odd_state = 0;   // what an odd state's successor is exclusive-ored with,
  uint8_t odd_index = 0;   // and that of an odd index
};

// `rows` times `cols` positions (weights in 1/256 of a step, at most kTrellisMostIndex steps of two
// from zero) to indices. rates: 2 times `magnitudes` costs of an index's magnitude under quantiser 0
// and 1, 0 to kTrellisMostRate; a larger magnitude costs what the last one does. Each row starts in
// state 0. Throws std::invalid_argument for a code, a rate or a position outside its bounds.
std::vector<int32_t> trellis_quantize(const TrellisCode& code, const int32_t* positions,
                                      std::size_t rows, std::size_t cols, const int32_t* rates,
                                      std::size_t magnitudes);

}  // namespace nncodec
