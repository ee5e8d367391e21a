// See field_kernels.inl. The flags for this file are set in CMakeLists.txt.
#define NNCODEC_NAMESPACE avx2
#include "field_kernels.inl"
