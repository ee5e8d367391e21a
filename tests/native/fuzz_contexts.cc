// Blocks of context models alone: any block comes back, any payload is decoded or refused.
#include "fuzz_blocks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  fuzz::try_block(in, nullptr, nullptr, 600);
  return 0;
}
