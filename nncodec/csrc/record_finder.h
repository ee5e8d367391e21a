// The length of a block's records, found from distances between equal bytes.
//
// When a byte value comes at the same distance twice in a row, that distance gets a vote. In records
// (rows of a spreadsheet or a bitmap, samples of many bytes) the votes meet at one distance; in text
// they scatter over short ones, so short distances need many more. The readable twin is in
// nncodec/mixing.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace nncodec {

class RecordFinder {
 public:
  static constexpr int kMaxRecord = 2048;

  // Of every byte: the byte, and the distance that got its vote, or 0.
  void add(int c, int gap) {
    printable_ += (c >= ' ' && c < 127) || c == '\n';
    if (gap > 1 && gap < kMaxRecord) ++votes_[gap];
    if (++bytes_ == kTerm) elect();
  }
  int record() const { return record_; }  // bytes, or 0: none

 private:
  static constexpr int kTerm = 4096;  // bytes between elections

  static int needed(int gap) { return gap < 3 ? 768 : gap < 64 ? 192 : 24; }

  void elect() {
    // Long distances in text are lines of one length, for which there are better contexts.
    const int longest = printable_ > kTerm * 15 / 16 ? 64 : kMaxRecord;
    bytes_ = printable_ = 0;
    int best = 0;
    for (int gap = 2; gap < longest; ++gap) {
      if (votes_[gap] >= needed(gap) && (best == 0 || votes_[gap] > votes_[best])) best = gap;
    }
    if (best != 0) {
      record_ = best;
    } else if (votes_[record_] < needed(record_) / 8) {
      record_ = 0;
    }
    for (auto& votes : votes_) votes = static_cast<uint16_t>(votes / 2);  // the past counts half
  }

  std::array<uint16_t, kMaxRecord> votes_{};
  int bytes_ = 0, printable_ = 0, record_ = 0;
};

}  // namespace nncodec
