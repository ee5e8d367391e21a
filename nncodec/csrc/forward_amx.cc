// See forward.inl. The flags for this file are set in CMakeLists.txt.
#include "model.h"
#define NNCODEC_NAMESPACE amx
#include "dot_amx.inl"
#include "forward.inl"
