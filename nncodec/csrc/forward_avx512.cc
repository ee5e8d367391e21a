// See forward.inl. The flags for this file are set in CMakeLists.txt.
#include "model.h"
#define NNCODEC_NAMESPACE avx512
#include "dot_vnni.inl"
#include "forward.inl"
