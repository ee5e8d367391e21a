// A large table that begins as zeros and costs memory only where it is touched.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nncodec {

template <class T>
class ZeroedTable {
 public:
  explicit ZeroedTable(std::size_t size) : size_(size) {
#if defined(__linux__)
    void* p = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
#else
    // calloc aligns to 16 bytes or so; a line of memory is 64.
    void* p = memory_ = std::calloc(bytes() + kLine, 1);
    if (!p) throw std::bad_alloc();
    std::size_t room = bytes() + kLine;
    std::align(kLine, bytes(), p, room);
#endif
    data_ = static_cast<T*>(p);
  }
  ~ZeroedTable() {
#if defined(__linux__)
    munmap(data_, bytes());
#else
    std::free(memory_);
#endif
  }
  // From now on in huge pages where the system has them: a table that is read all over else misses the
  // address cache, too. All of it then costs memory, so not before there is something to keep in it.
  void settle() {
#if defined(__linux__)
    constexpr int kCollapse = 25;  // MADV_COLLAPSE, Linux 6.1
    if (bytes() < kHugePage) return;
    madvise(data_, bytes(), MADV_HUGEPAGE);
    madvise(data_, bytes(), kCollapse);
#endif
  }
  ZeroedTable(const ZeroedTable&) = delete;
  ZeroedTable& operator=(const ZeroedTable&) = delete;

  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }

 private:
  static constexpr std::size_t kHugePage = std::size_t{1} << 21;
  std::size_t bytes() const { return size_ * sizeof(T); }
  std::size_t size_;
  T* data_;
#if !defined(__linux__)
  static constexpr std::size_t kLine = 64;
  void* memory_;
#endif
};

}  // namespace nncodec
