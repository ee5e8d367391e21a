// Context mixing: adaptive models of a block's recent past beside the network, bit by bit.
//
// Every byte is eight binary decisions, high bit first. Each model gives logits for the next bit; gated
// logistic mixers (Mattern 2012; Mahoney's paq8) weigh them, by weights chosen by small contexts and
// adapted after every bit; three adaptive probability maps refine the result. All lanes of a block share
// one state, visited in coding order. Integers only, so that every machine computes the same. The
// readable twin is nncodec/mixing.py; docs/FORMAT-mixer.md defines it, docs/mixing.md has the reasons.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "bit_history.h"
#include "lane_geometry.h"
#include "logistic.h"
#include "model.h"
#include "record_finder.h"
#include "zeroed_table.h"

namespace nncodec {

inline const HistoryTable kHistories;

// A probability that learns: 22 bits of it above 10 bits of how often it was updated. Kernels learn
// many of them at once (mixing_kernels.inl), by the same formula.
class AdaptiveBit {
 public:
  int p16() const { return static_cast<int>(value_ >> 16); }
  void update(int bit, int limit) {
    const auto n = static_cast<int>(value_ & 1023);
    const auto p = static_cast<int>(value_ >> 10);
    // The share 1 / (n + 1.5) of the way there, rounded towards where it is.
    const int way = bit ? (1 << 22) - 1 - p : p;
    const int step = (way >> 6) * kReciprocals.of[n] >> 9;
    value_ = static_cast<uint32_t>(bit ? p + step : p - step) << 10 |
             static_cast<uint32_t>(n < limit ? n + 1 : n);
  }
  void set(int p16) { value_ = static_cast<uint32_t>(p16) << 16; }

 private:
  uint32_t value_ = 1u << 31;
};
static_assert(sizeof(AdaptiveBit) == 4);

constexpr int kMatchContext = 3;
constexpr int kMinTableBits = 10, kMaxTableBits = 22;
constexpr int kSets = 5;     // weight sets chosen at once
constexpr int kRefinements = 3;
constexpr int kRefineStep = 256, kRefineCells = 23;  // cells at multiples of the step, -11..11
constexpr int kRefineStride = 32;  // a context's cells fill one line of memory
constexpr int kRefineContexts = 1 << 16;

// What a lane remembers besides the symbols.
struct LaneHistory {
  uint64_t last8 = 0;  // last byte lowest
  uint32_t word = 0, previous_word = 0, word_before = 0;
  std::array<uint16_t, 256> followers{};  // after each byte value, the last two bytes that came
  uint32_t marks = 0;  // the last four bytes that are neither of words nor blanks
  int64_t match = -1;  // position of the predicted byte, or -1
  int match_length = 0;
  uint32_t misses = 0;  // of the match's last bytes, the newest lowest
  int64_t line = 0, previous_line = 0;  // where the lines began, as positions in the block
  int64_t aligned = 0;  // the place in the line before that stands for this one, field by field
  // Where each byte value came last, and how far before that.
  std::array<int32_t, 256> last_seen{}, last_gap{};
  int32_t record = 0;  // length of the block's records, as far as known; 0: none
  int64_t run = 0;  // where the lane's run began
  int64_t hashed_for = -1;              // the position whose contexts have these hashes
  std::array<uint32_t, kContexts> hashes{};

  // Goes on at a lane's first byte with the past of another place.
  void start_run(int64_t at) {
    match = -1;
    match_length = 0;
    misses = 0;
    hashed_for = -1;
    run = line = previous_line = aligned = at;
    last_seen.fill(static_cast<int32_t>(at));
  }

  // The distance to the last c if it is the same as the last time, else 0.
  int repeated_gap(int c, int64_t at) {
    const auto gap = static_cast<int32_t>(at - last_seen[c]);
    const bool repeated = gap > 1 && gap == last_gap[c];
    last_gap[c] = gap;
    last_seen[c] = static_cast<int32_t>(at);
    return repeated ? gap : 0;
  }
};

// What stands beside the context models. A trained network is trusted from the first byte, and its
// confidence chooses weights; one that is learning has to earn its weight.
enum class Network { kNone, kTrained, kLearning };

class ContextMixer {
 public:
  // `table_bits`: the hash table has 2^table_bits lines of 64 bytes.
  ContextMixer(const Kernels& kernels, int table_bits, Network network);

  // Sets the contexts of the byte at (lane, step) of a part of the block, `symbols`, of which only
  // the bytes coded before are looked at.
  void begin(const uint8_t* symbols, const LanePart& part, int lane, int64_t step,
             LaneHistory& history);
  // The probability, of 65536, that the next bit is 1. `network` is its probability by the network.
  int predict(int network);
  void update(int bit);
  // The byte that begin() was called for is in `symbols`.
  void end(const uint8_t* symbols, const LanePart& part, int lane, int64_t step,
           LaneHistory& history);

 private:
  // Four slots of the bit histories of a nibble, a binary tree of 15 nodes. A check byte is not 0 in a
  // slot that is taken.
  struct alignas(64) Line {
    uint8_t checks[4];
    uint8_t states[4][15];
  };
  static_assert(sizeof(Line) == 64);

  static void hash_contexts(const uint8_t* symbols, int64_t at, LaneHistory& history);
  Line& line_of(uint32_t hash) { return table_[hash >> (32 - table_bits_)]; }
  void find_slots();
  void find_refinements();
  void find_match(const uint8_t* symbols, const LanePart& part, int lane, int64_t step,
                  int64_t candidate, LaneHistory& history) const;
  uint8_t* find(uint32_t hash);

  const Kernels& kernels_;
  const Network network_;
  const int table_bits_;
  ZeroedTable<Line> table_;
  ZeroedTable<int32_t> matches_;  // hash of the last bytes -> position that follows; 0: none
  std::array<std::array<uint32_t, 256>, kContexts> history_maps_;  // as AdaptiveBit
  std::array<AdaptiveBit, 256> order0_;
  std::array<AdaptiveBit, 256> match_map_;
  std::vector<int32_t> weights_[kSets];
  std::vector<int32_t> final_weights_;
  // Cells as differences from their first value, so that untouched ones are zeros.
  std::array<uint16_t, kRefineCells> first_cells_;
  std::array<ZeroedTable<uint16_t>, kRefinements> refine_;

  // Of the byte in progress.
  std::array<uint32_t, kContexts> hashes_{};
  std::array<uint8_t*, kContexts> slots_{};  // the states of this nibble
  int c0_ = 1, bit_ = 0;                     // bits so far with a leading 1; how many
  int c1_ = 0;
  uint32_t c3_ = 0;
  int expected_ = -1;  // the byte that the match predicts
  int match_bucket_ = 0, match_misses_ = 0;

  RecordFinder records_;
  int64_t taken_ = 0;  // slots
  bool settled_ = false;
  int64_t bytes_ = 0;
  int rate_ = 0;

  // Of the bit in progress.
  // First the logits of the contexts, then their distances from one half, then the others.
  alignas(64) std::array<int32_t, kMixInputs> inputs_{};
  alignas(64) std::array<uint32_t, kContexts> learners_{};  // of history_maps_, for this bit
  std::array<uint8_t, kContexts> states_{};
  int node_ = 0;  // in the slots' trees
  int32_t* chosen_[kSets] = {};
  int32_t* chosen_final_ = nullptr;
  int32_t outputs_[kSets] = {}, output_logits_[kSets] = {};
  int mixed_ = 0;
  uint32_t refine_contexts_[kRefinements] = {};
  uint16_t* refine_rows_[kRefinements] = {};
  uint16_t* refined_cells_[kRefinements] = {};
  int refined_[kRefinements] = {};
  int match_context_ = -1;
};

}  // namespace nncodec
