// The encoder's decisions. None is part of the format: a decoder follows whatever plan it reads.
#pragma once

#include "field_plan.h"
#include "field_streams.h"

namespace nncodec {

// Cuts `chunk` into planes and decides how each of their units is coded.
Plan choose_plan(const std::vector<ItemShape>& shapes, const uint8_t* chunk, const FieldKernels& kernels,
                 Planes& planes);

}  // namespace nncodec
