// See forward.inl. The flags for this file are set in CMakeLists.txt.
#include "model.h"
#define NNCODEC_NAMESPACE neon
#include "dot_neon.inl"
#include "forward.inl"
