// Memory that is kept from chunk to chunk: fresh pages cost more than what is done with them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace nncodec {

// A piece of memory of its own for as long as it lives, from those that others left behind, whichever
// thread they ran in. At most kShelf pieces wait for the next.
class KeptMemory {
 public:
  KeptMemory() {
    for (auto& place : shelf()) {
      if (Piece* piece = place.exchange(nullptr)) {
        piece_.reset(piece);
        return;
      }
    }
    piece_ = std::make_unique<Piece>();
  }
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;
  ~KeptMemory() {
    for (auto& place : shelf()) {
      Piece* empty = nullptr;
      if (place.compare_exchange_strong(empty, piece_.get())) {
        piece_.release();
        return;
      }
    }
  }

  // Room for `size` elements, with anything in it, until the next call.
  template <class T>
  T* room(std::size_t size) {
    const std::size_t bytes = size * sizeof(T);
    if (bytes > piece_->size) {
      piece_->bytes.reset();  // so that both are never there at once
      piece_->size = 0;
      piece_->bytes.reset(new uint8_t[bytes]);
      piece_->size = bytes;
    }
    return reinterpret_cast<T*>(piece_->bytes.get());
  }

 private:
  struct Piece {
    std::unique_ptr<uint8_t[]> bytes;
    std::size_t size = 0;
  };

  static constexpr std::size_t kShelf = 8;
  // Without a lock, which a fork could leave taken.
  static std::array<std::atomic<Piece*>, kShelf>& shelf() {
    static std::array<std::atomic<Piece*>, kShelf> places{};
    return places;
  }

  std::unique_ptr<Piece> piece_;
};

}  // namespace nncodec
