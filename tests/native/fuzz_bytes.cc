// What works on plain bytes: the x86 filter both ways, and the checksum wherever its bytes lie.
#include <memory>

#include "../../nncodec/csrc/x86_filter.h"
#include "../../nncodec/csrc/xxh64.h"
#include "fuzz.h"

using fuzz::Bytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  Bytes there(data, data + size);
  nncodec::x86_encode(there.data(), size);
  nncodec::x86_decode(there.data(), size);
  fuzz::require(std::equal(there.begin(), there.end(), data), "x86 code comes back");
  Bytes back(data, data + size);
  nncodec::x86_decode(back.data(), size);
  nncodec::x86_encode(back.data(), size);
  fuzz::require(std::equal(back.begin(), back.end(), data), "x86 code comes back the other way");
  if (size == 0) return 0;
  const std::size_t shift = data[0] % 8;
  const std::unique_ptr<uint8_t[]> moved(new uint8_t[size + shift]);  // exactly, so that a read beyond is seen
  std::copy_n(data, size, moved.get() + shift);
  const uint64_t sum = nncodec::xxh64(data, size);
  fuzz::require(sum == nncodec::xxh64(moved.get() + shift, size), "a checksum is of the bytes alone");
  moved[shift + size / 2] ^= 1;
  fuzz::require(sum != nncodec::xxh64(moved.get() + shift, size), "a flipped bit changes the checksum");
  return 0;
}
