// See forward.inl. The flags for this file are set in CMakeLists.txt.
#include "model.h"
#define NNCODEC_NAMESPACE portable
#include "dot_pairs.inl"
#include "forward.inl"
