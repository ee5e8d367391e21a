// See field_kernels.inl. The flags for this file are set in CMakeLists.txt.
#define NNCODEC_NAMESPACE portable
#include "field_kernels.inl"
