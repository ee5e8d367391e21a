// Blocks coded with a network, on any kernels: what one writes, another reads.
#include <memory>

#include "fuzz_blocks.h"
#include "models.h"

using namespace nncodec;

namespace {

// Two small models, on every instruction set of this machine.
struct Engines {
  std::vector<std::unique_ptr<Engine>> of[2];
  Engines() {
    const Model made[] = {models::random_model(32, 1, 2, 16, 64, {4, 16}),
                          models::random_model(30, 2, 1, 6, 50, {1, 33}, {2, 8, 1})};
    for (int m = 0; m < 2; ++m) {
      for (const std::string& isa : available_isas()) of[m].push_back(std::make_unique<Engine>(made[m], 1, isa));
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  static Engines engines;
  fuzz::Input in(data, size);
  const auto& own = engines.of[in.byte() & 1];
  Engine* const writer = own[in.byte() % own.size()].get();
  Engine* const reader = own[in.byte() % own.size()].get();
  fuzz::try_block(in, writer, reader, 300);
  return 0;
}
