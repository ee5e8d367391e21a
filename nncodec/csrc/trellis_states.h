// The state machine of trellis-coded ("dependent") quantisation, as nncodec/lossy/trellis.py has it:
// Ungerboeck's rate-1/2 codes, advanced by the parity of each index. The lowest bit of a state names the
// quantiser: 0 has the even multiples of the step, 1 the odd ones and zero (Haase et al., "Dependent
// scalar quantization for neural network compression", 2020). The readable twin is
// nncodec/tensors/trellis_states.py.
#pragma once

#include <cstdint>

namespace nncodec {

constexpr uint8_t kMaxTrellis = 6;  // log2 of the states

inline uint32_t next_state(int log_states, uint32_t state, uint32_t parity) {
  constexpr uint8_t kLow[] = {0, 0, 2, 5, 9, 18, 33}, kParity[] = {0, 0, 1, 2, 2, 4, 10};
  return (state >> 1) ^ (state & 1 ? kLow[log_states] : 0u) ^ (parity ? kParity[log_states] : 0u);
}

}  // namespace nncodec
