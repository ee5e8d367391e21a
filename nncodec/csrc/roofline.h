// How fast the kernels multiply, alone and against the bare instruction: single thread, this machine.
#pragma once

#include <string>

namespace nncodec {

// Products a second of `isa`'s multiply() for an (out, in) matrix and `rows` rows, all in cache: the
// best of several tries that together take about `seconds`.
double measure_multiply(const std::string& isa, int out, int in, int rows, double seconds);

// The same for the bare multiply instruction without loads or stores.
double measure_bare(const std::string& isa, double seconds);

}  // namespace nncodec
