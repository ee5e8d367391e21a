#include "isa.h"

#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace nncodec {

namespace {

struct Isa {
  const Kernels& kernels;
  bool (*here)();
};

#if defined(__x86_64__)
// What the system saves of a thread's registers: XCR0, or 0 where programs cannot ask.
unsigned saved_state() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kOsxsave = 1u << 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & kOsxsave) == 0) return 0;
  unsigned low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Whether the processor has all these features of leaf 7 (registers b and c) and the system saves these
// registers. Not __builtin_cpu_supports: clang-cl links nothing that would answer it.
bool has(unsigned wanted_b, unsigned wanted_c, unsigned wanted_state) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  return (b & wanted_b) == wanted_b && (c & wanted_c) == wanted_c &&
         (saved_state() & wanted_state) == wanted_state;
}

constexpr unsigned kVectorState = 3u << 1, kWideState = kVectorState | 7u << 5;

// All found out once: virtual machines take tens of microseconds for each question to the processor.
bool has_avx2() {
  static const bool here = has(1u << 5, 0, kVectorState);
  return here;
}

bool has_avx512() {
  constexpr unsigned kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31, kVnni = 1u << 11;
  static const bool here = has(kF | kDq | kBw | kVl, kVnni, kWideState);
  return here;
}

// Whether the processor has int8 tiles, the system saves them, and lets this process use them.
bool find_amx() {
#if defined(NNCODEC_EMULATE_TILES)
  return has_avx512();  // tiles of plain memory: see dot_amx.inl
#elif defined(__linux__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  if ((d & kTile) == 0 || (d & kInt8) == 0) return false;
  constexpr unsigned kTileState = 3u << 17;
  if ((saved_state() & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool has_amx() {
  static const bool here = find_amx();
  return here;
}
#endif

#if defined(__aarch64__)
bool has_dot_product() {
#if defined(__APPLE__)
  return true;  // every Apple processor that runs arm64 macOS
#elif defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}
#endif

const Isa kIsas[] = {
#if defined(__x86_64__)
    {amx::kernels, has_amx},
    {avx512::kernels, has_avx512},
    {avx2::kernels, has_avx2},
#elif defined(__aarch64__)
    {neon::kernels, has_dot_product},
#endif
    {portable::kernels, [] { return true; }},
};

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) {
    if (isa.here()) names.emplace_back(isa.kernels.isa);
  }
  return names;
}

const Kernels& choose_kernels(const std::string& isa) {
  for (const Isa& candidate : kIsas) {
    // The name first: asking for tiles has effects on the whole process.
    if ((isa.empty() || isa == candidate.kernels.isa) && candidate.here()) {
      return candidate.kernels;
    }
  }
  std::string names;
  for (const std::string& name : available_isas()) names += " " + name;
  throw std::invalid_argument("no kernels for '" + isa + "' here; available:" + names);
}

}  // namespace nncodec
