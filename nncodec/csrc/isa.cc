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
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
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
  unsigned low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileState = 3u << 17;
  if ((low & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Found out once: virtual machines take tens of microseconds for each question to the processor.
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
    {avx2::kernels, [] { return __builtin_cpu_supports("avx2") != 0; }},
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
