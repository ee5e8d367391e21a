// Context models beside any predictor: its counts come from outside, row by row, in coding order.
//
// The order is that of a block with this geometry: the prefix, then step by step all lanes that still have
// a byte. Whoever predicts may give many rows at once when encoding; decoding, a row may depend on all
// bytes that were returned before, so a call has at most the lanes of one step. The readable twin is
// nncodec/mixed.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "byte_coding.h"
#include "isa.h"  // choose_kernels
#include "lane_geometry.h"
#include "trace.h"

namespace nncodec {

// `Coder` is Encode or Decode.
template <class Coder>
class MixedCoder {
 public:
  // `network`: kTrained or kLearning. `payload` is what is decoded. Throws std::invalid_argument for a geometry or a table that makes no
  // sense, PayloadError for a hopeless payload.
  MixedCoder(Geometry g, int table_bits, Network network, const std::string& isa,
             const uint8_t* payload = nullptr, std::size_t payload_size = 0)
      : geometry_(checked(g, table_bits)),
        mixer_(choose_kernels(isa), table_bits, network),
        coder_(payload, payload_size),
        symbols_(static_cast<std::size_t>(g.size)) {
    begin_part({0, g.prefix, 1});
  }

  // Codes the next n bytes by n rows of 256 counts. `symbols` is read (Encode) or filled in (Decode);
  // `cost`, unless null, takes what each byte cost in units of 2^-24 bits. Throws std::invalid_argument,
  // before anything is coded, for more bytes than the block has left or counts that are none; PayloadError
  // if the payload is found damaged. After an error there is no way on.
  void code(const int32_t* counts, uint8_t* symbols, std::size_t n, uint32_t* cost = nullptr) {
    const std::lock_guard<std::mutex> alone(busy_);
    if (failed_) throw std::logic_error("the coder has failed before: there is no way on");
    if (n > symbols_.size() - static_cast<std::size_t>(done_)) {
      throw std::invalid_argument("more bytes than the block has left");
    }
    for (std::size_t i = 0; i < n; ++i) check_counts(counts + i * kSymbols);
    failed_ = true;
    for (std::size_t i = 0; i < n; ++i) {
      code_byte(counts + i * kSymbols, symbols[i], cost ? cost + i : nullptr);
    }
    failed_ = false;
  }

  int64_t done() {
    const std::lock_guard<std::mutex> alone(busy_);
    return done_;
  }

  // Once, after the block's last byte: the payload (Encode). Decode throws PayloadError if bytes are left.
  std::vector<uint8_t> finish() {
    const std::lock_guard<std::mutex> alone(busy_);
    if (failed_ || done_ != geometry_.size) {
      throw std::logic_error("the block is not coded to its end, or finished already");
    }
    failed_ = true;
    if constexpr (Coder::kKnowsSymbols) return coder_.coder.finish();
    coder_.coder.finish();
    return {};
  }

 private:
  static Geometry checked(const Geometry& g, int table_bits) {
    if (!g.makes_sense()) throw std::invalid_argument("lanes and prefix do not fit the block");
    if (table_bits < kMinTableBits || table_bits > kMaxTableBits) {
      throw std::invalid_argument("table_bits is out of range");
    }
    return g;
  }

  // All lanes have the prefix behind them.
  void begin_part(LanePart part) {
    part_ = part;
    histories_.resize(static_cast<std::size_t>(part_.lanes), histories_[0]);
    for (int lane = 0; lane < part_.lanes; ++lane) {
      histories_[static_cast<std::size_t>(lane)].start_run(part_.at(lane, 0));
    }
    step_ = 0;
    lane_ = 0;
  }

  void code_byte(const int32_t* row, uint8_t& symbol, uint32_t* cost) {
    if (step_ == part_.steps()) {  // the prefix is done, or there is none
      begin_part({geometry_.prefix, geometry_.size - geometry_.prefix, geometry_.lanes});
    }
    uint8_t& place = symbols_[static_cast<std::size_t>(part_.at(lane_, step_))];
    if (Coder::kKnowsSymbols) place = symbol;
    LaneHistory& history = histories_[static_cast<std::size_t>(lane_)];
    tree_.set(row);
    const auto mix = [&](auto watcher) {
      code_mixed(coder_, mixer_, symbols_.data(), part_, lane_, step_, history, &tree_, watcher);
    };
    if (cost) {
      mix(CostOfByte(*cost));
    } else {
      mix(UntracedByte());
    }
    symbol = place;
    ++done_;
    if (++lane_ == part_.active(step_)) {
      lane_ = 0;
      ++step_;
    }
  }

  const Geometry geometry_;
  LanePart part_;
  ContextMixer mixer_;
  Coder coder_;
  std::vector<uint8_t> symbols_;  // the block, as far as it is coded
  std::vector<LaneHistory> histories_{1};
  BitTree tree_;
  int64_t step_ = 0, done_ = 0;
  int lane_ = 0;
  bool failed_ = false;  // or finished
  std::mutex busy_;
};

}  // namespace nncodec
