// Which kernels this build holds, and which of them this machine runs.
#pragma once

#include <string>
#include <vector>

#include "model.h"

namespace nncodec {

// Instruction sets that this machine runs and this build holds, best first.
std::vector<std::string> available_isas();

// `isa` is one of available_isas(), or empty for the best. Throws std::invalid_argument.
const Kernels& choose_kernels(const std::string& isa);

}  // namespace nncodec
