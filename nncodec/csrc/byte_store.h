// Bytes of a Python object that grows at its end, into which decoders write side by side.
#pragma once

#include <Python.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nncodec {

// All but Use needs the GIL.
class ByteStore {
 public:
  // `expected`: room that is made at once when anything is claimed; it costs nothing until it is written.
  explicit ByteStore(std::size_t expected) : expected_(expected) {}
  ByteStore(const ByteStore&) = delete;
  ByteStore& operator=(const ByteStore&) = delete;
  ~ByteStore() { Py_XDECREF(bytes_); }

  std::size_t room() const { return capacity_ - size_; }

  // `size` bytes more, with anything in them; returns where they begin. Throws std::logic_error if that
  // would move memory in use.
  std::size_t claim(std::size_t size) {
    if (size > room()) {
      if (users_ > 0) throw std::logic_error("bytes in use cannot move");
      if (size > static_cast<std::size_t>(PY_SSIZE_T_MAX) / 4 - size_) throw std::bad_alloc();
      resize(std::max({size_ + size, capacity_ + capacity_ / 2, expected_}));
    }
    size_ += size;
    return size_ - size;
  }

  // A new reference to bytes of all that was claimed; the store is empty then.
  PyObject* take() {
    if (users_ > 0) throw std::logic_error("bytes in use cannot be taken");
    resize(size_);
    PyObject* const taken = bytes_;
    bytes_ = nullptr;
    size_ = capacity_ = 0;
    return taken;
  }

  // Claimed bytes that stay where they are while this lives.
  class Use {
   public:
    Use(ByteStore& store, std::size_t at, std::size_t size) : store_(store) {
      if (at > store.size_ || size > store.size_ - at) throw std::invalid_argument("bytes were not claimed");
      if (size > 0) data_ = store.data() + at;
      ++store.users_;
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { --store_.users_; }
    uint8_t* data() const { return data_; }

   private:
    ByteStore& store_;
    uint8_t* data_ = nullptr;
  };

 private:
  uint8_t* data() const { return reinterpret_cast<uint8_t*>(PyBytes_AsString(bytes_)); }

  void resize(std::size_t capacity) {
    if (bytes_ != nullptr && capacity == capacity_) return;
    const auto size = static_cast<Py_ssize_t>(capacity);
#if defined(Py_LIMITED_API)  // has nothing that resizes in place: wheels for many versions copy
    PyObject* const old = bytes_;
    bytes_ = PyBytes_FromStringAndSize(nullptr, size);
    if (bytes_ != nullptr) {
      if (capacity > capacity_) want_large_pages(data(), capacity);
      if (old != nullptr) std::memcpy(data(), PyBytes_AsString(old), std::min(size_, capacity));
    }
    Py_XDECREF(old);
#else
    if (bytes_ == nullptr) {
      bytes_ = PyBytes_FromStringAndSize(nullptr, size);
    } else if (_PyBytes_Resize(&bytes_, size) != 0) {
      bytes_ = nullptr;
    }
    if (bytes_ != nullptr && capacity > capacity_) want_large_pages(data(), capacity);
#endif
    if (bytes_ == nullptr) {
      PyErr_Clear();
      size_ = capacity_ = 0;
      throw std::bad_alloc();
    }
    capacity_ = capacity;
  }

  // A page fault for two megabytes instead of four kilobytes.
  static void want_large_pages([[maybe_unused]] uint8_t* data, [[maybe_unused]] std::size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t kPage = 1 << 21;
    const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(data) + kPage - 1) & ~(kPage - 1);
    const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(data) + size) & ~(kPage - 1);
    // Only a wish: what it returns does not matter.
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
  }

  std::size_t expected_, size_ = 0, capacity_ = 0;
  PyObject* bytes_ = nullptr;
  std::atomic<int> users_ = 0;
};

}  // namespace nncodec
