#include "block_coder.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <stdexcept>
#include <thread>

#include "byte_coding.h"
#include "context_mixer.h"
#include "trace.h"

namespace nncodec {

struct BlockCoder::Impl {
  virtual ~Impl() = default;
  virtual int64_t run(int64_t bytes) = 0;
  virtual std::vector<uint8_t> finish() = 0;
  std::unique_ptr<Trace> trace;  // null: nobody asked
};

namespace {

// Steps of the model and the coding of their results, spread over threads.
//
// Time is cut into chunks: one step when decoding, since the next one waits for the symbols; several
// when encoding, so that the products have many rows of one lane, whose keys and values then stay in
// the cache. Lanes are cut into groups. Two kinds of tasks:
//   predict(group, chunk)  model -> counts; decoding, its lanes' last symbols must be coded
//   code(unit)             counts -> coder, strictly in order; needs the counts of the unit's lanes
// A unit is a group's lanes of one step (decoding) or all lanes of a chunk (encoding). Whoever is free
// takes the next code task if it is ready, else a group to predict: no barrier, and coding one group
// hides behind predicting another.
template <class Coder>
class Run final : public BlockCoder::Impl {
 public:
  Run(Engine& engine, Geometry g, int table_bits, const uint8_t* input, std::size_t input_size)
      : engine_(engine),
        geometry_(g),
        caches_(engine.make_caches(kChunk)),
        reach_(engine.model().ngrams.reach()),
        coder_(input, input_size),
        symbols_(static_cast<std::size_t>(g.size)) {
    if (table_bits) {
      mixer_ = std::make_unique<ContextMixer>(engine.kernels(), table_bits, Network::kTrained);
    }
    if (Coder::kKnowsSymbols) std::copy_n(input, symbols_.size(), symbols_.begin());
    begin_part({0, g.prefix, 1});
  }

  int64_t run(int64_t bytes) override {
    const std::lock_guard<std::mutex> alone(engine_.busy());
    const int64_t goal = done_ + std::min(geometry_.size - done_, std::max<int64_t>(bytes, 1));
    while (done_ < goal) {
      if (error_) std::rethrow_exception(error_);  // an earlier call failed: there is no way on
      if (chunk_ == chunks()) {
        try {
          begin_part(rest());
        } catch (...) {
          error_ = std::current_exception();  // memory ran out half way
          throw;
        }
      }
      const int64_t a_chunk = static_cast<int64_t>(part_.lanes) * kChunk;
      stop_chunk_ = std::min(chunks(), chunk_ + std::max<int64_t>(1, (goal - done_) / a_chunk));
      engine_.pool().run(std::min(engine_.threads(), static_cast<int>(groups_.size())),
                        [this](int worker) { work(engine_.scratch(worker)); });
      if (error_) std::rethrow_exception(error_);
    }
    return done_;
  }

  std::vector<uint8_t> finish() override {
    if (done_ != geometry_.size) throw std::logic_error("the block is not coded to its end");
    if constexpr (Coder::kKnowsSymbols) return coder_.coder.finish();
    coder_.coder.finish();
    return std::move(symbols_);
  }

 private:
  static constexpr int kChunk = Coder::kKnowsSymbols ? kMaxSteps : 1;
  static constexpr int kSpins = 200;  // some tens of microseconds
  static constexpr int kChunksAhead = Coder::kKnowsSymbols ? 2 : 1;  // whose counts are kept

  struct Group {
    int first, last;        // lanes
    int64_t predicted = 0;  // chunks
    bool busy = false;
  };

  int64_t chunks() const { return (part_.steps() + kChunk - 1) / kChunk; }
  int units() const { return kChunk == 1 ? static_cast<int>(groups_.size()) : 1; }
  LanePart rest() const {
    return {geometry_.prefix, geometry_.size - geometry_.prefix, geometry_.lanes};
  }

  void begin_part(LanePart part) {
    position_ += part_.steps();
    part_ = part;
    if (part.lanes > 1) {
      for (Cache& cache : caches_) cache.fork(part.lanes);
    }
    // All lanes have the prefix behind them.
    histories_.resize(static_cast<std::size_t>(part.lanes), histories_[0]);
    for (int lane = 0; lane < part.lanes; ++lane) {
      histories_[static_cast<std::size_t>(lane)].start_run(part.at(lane, 0));
    }
    // Two groups a thread, so that one can be predicted while another is coded, if that leaves enough
    // rows for the products; at most as many lanes as a call takes rows.
    const int threads = engine_.threads();
    const int parts = part.lanes >= 2 * threads * kMaxRows / 2 ? 2 * threads : threads;
    const int share = std::clamp((part.lanes + parts - 1) / parts, 1, kMaxRows);
    groups_.clear();
    for (int lane = 0; lane < part.lanes; lane += share) {
      groups_.push_back({lane, std::min(part.lanes, lane + share)});
    }
    counts_.resize(static_cast<std::size_t>(kChunksAhead) * part.lanes * kChunk * 256);
    chunk_ = 0;
    unit_ = 0;
  }

  // (chunk, lane, step in chunk) -> its 256 counts.
  int32_t* counts(int64_t chunk, int lane, int step) {
    const auto slot = static_cast<std::size_t>(chunk % kChunksAhead) * part_.lanes + lane;
    return counts_.data() + (slot * kChunk + step) * 256;
  }

  bool unit_ready() const {
    if (chunk_ >= stop_chunk_) return false;
    if (kChunk == 1) return groups_[unit_].predicted > chunk_;
    return std::all_of(groups_.begin(), groups_.end(),
                       [this](const Group& g) { return g.predicted > chunk_; });
  }

  bool group_ready(const Group& g) const {
    if (g.busy || g.predicted >= stop_chunk_) return false;
    if (kChunk > 1) return g.predicted < chunk_ + kChunksAhead;
    return g.predicted == chunk_ + (&g - groups_.data() < unit_ ? 1 : 0);
  }

  void work(Scratch& scratch) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      if (error_ || chunk_ >= stop_chunk_) return;
      Group* next = nullptr;
      if (!coding_ && unit_ready()) {
        coding_ = true;
        lock.unlock();
        int64_t coded = 0;
        std::exception_ptr error;
        try {
          coded = code_unit(scratch);
        } catch (...) {
          error = std::current_exception();
        }
        lock.lock();
        coding_ = false;
        done_ += coded;
        if (error) error_ = error;
        if (++unit_ == units()) {
          unit_ = 0;
          ++chunk_;
        }
      } else if (next = ready_group(); next) {
        next->busy = true;
        lock.unlock();
        predict(*next, scratch);
        lock.lock();
        next->busy = false;
        ++next->predicted;
      } else {
        await_change(lock);
        continue;
      }
      version_.fetch_add(1, std::memory_order_release);
      changed_.notify_all();
    }
  }

  // Until some task has ended. Tasks are short: look for a while before going to sleep.
  void await_change(std::unique_lock<std::mutex>& lock) {
    const unsigned seen = version_.load(std::memory_order_acquire);
    lock.unlock();
    for (int i = 0; i < kSpins; ++i) {
      if (version_.load(std::memory_order_acquire) != seen) return lock.lock();
      std::this_thread::yield();
    }
    lock.lock();
    changed_.wait(lock, [&] { return version_.load(std::memory_order_acquire) != seen; });
  }

  Group* ready_group() {
    for (Group& g : groups_) {
      if (group_ready(g)) return &g;
    }
    return nullptr;
  }

  void predict(const Group& group, Scratch& scratch) {
    const int64_t chunk = group.predicted, first = chunk * kChunk;
    Row rows[kMaxRows];
    int n = 0;
    const auto flush = [&] {
      if (n) engine_.kernels().forward(engine_.model(), caches_, scratch, rows, n);
      n = 0;
    };
    for (int lane = group.first; lane < group.last; ++lane) {
      for (int64_t step = first; step < first + kChunk && lane < part_.active(step); ++step) {
        rows[n++] = {lane, tokens_before(lane, step), position_ + step,
                     counts(chunk, lane, static_cast<int>(step - first))};
        if (n == kMaxRows) flush();
      }
    }
    flush();
  }

  // What the model has seen last when it predicts a lane's step: the bytes before it in its lane,
  // then those before the part, then marks.
  Recent tokens_before(int lane, int64_t step) const {
    Recent tokens{};
    for (int i = 0; i < reach_; ++i) {
      const int64_t at = step > i ? part_.at(lane, step - 1 - i) : part_.begin + step - 1 - i;
      tokens[i] = at < 0 ? kBeginOfBlock : symbols_[at];
    }
    return tokens;
  }

  int64_t code_unit(Scratch& scratch) {
    const int64_t begun = scratch.timed ? now_ns() : 0;
    const bool all = kChunk > 1;
    const int first = all ? 0 : groups_[unit_].first, last = all ? part_.lanes : groups_[unit_].last;
    int64_t coded = 0;
    for (int i = 0; i < kChunk; ++i) {
      const int64_t step = chunk_ * kChunk + i;
      if (step >= part_.steps()) break;
      const int end = std::min(last, part_.active(step));
      for (int lane = first; lane < end; ++lane, ++coded) {
        code_byte(counts(chunk_, lane, i), lane, step);
      }
    }
    if (scratch.timed) scratch.ns[kCoding] += now_ns() - begun;
    return coded;
  }

  void code_byte(const int32_t* row, int lane, int64_t step) {
    uint8_t& symbol = symbols_[part_.at(lane, step)];
    LaneHistory& history = histories_[static_cast<std::size_t>(lane)];
    const auto mix = [&](auto watcher) {
      tree_.set(row);
      code_mixed(coder_, *mixer_, symbols_.data(), part_, lane, step, history, &tree_, watcher);
    };
    if (trace) {
      const auto at = static_cast<std::size_t>(&symbol - symbols_.data());
      trace->add_network(at, row, symbol);
      if (mixer_) return mix(TracedByte(*trace, symbols_.data(), at));
      trace->cost[at] = trace->network[at];
    }
    if (mixer_) return mix(UntracedByte());
    coder_.code(row, symbol);
  }

  Engine& engine_;
  const Geometry geometry_;
  std::vector<Cache> caches_;
  const int reach_;
  Coder coder_;
  std::vector<uint8_t> symbols_;  // the block, known or decoded so far
  Buffer<int32_t> counts_;
  std::unique_ptr<ContextMixer> mixer_;  // null: the network's counts are coded as they are
  BitTree tree_;
  std::vector<LaneHistory> histories_{1};

  LanePart part_;
  int64_t position_ = 0;  // of the part's first step, in every lane

  std::mutex mutex_;  // guards what follows, and the groups' states
  std::condition_variable changed_;
  std::atomic<unsigned> version_{0};
  std::vector<Group> groups_;
  int64_t chunk_ = 0, stop_chunk_ = 0;  // coded so far, and where to pause
  int unit_ = 0;
  bool coding_ = false;
  int64_t done_ = 0;
  std::exception_ptr error_;
};

// Context models alone: one lane, one thread, no model to run.
template <class Coder>
class ContextRun final : public BlockCoder::Impl {
 public:
  ContextRun(const std::string& isa, int64_t size, int table_bits, const uint8_t* input,
             std::size_t input_size)
      : part_{0, size, 1},
        mixer_(choose_kernels(isa), table_bits, Network::kNone),
        coder_(input, input_size),
        symbols_(static_cast<std::size_t>(size)) {
    if (Coder::kKnowsSymbols) std::copy_n(input, symbols_.size(), symbols_.begin());
  }

  int64_t run(int64_t bytes) override {
    const int64_t goal = done_ + std::min(part_.size - done_, std::max<int64_t>(bytes, 1));
    for (; done_ < goal; ++done_) {
      const auto mix = [&](auto watcher) {
        code_mixed(coder_, mixer_, symbols_.data(), part_, 0, done_, history_, nullptr, watcher);
      };
      if (trace) {
        mix(TracedByte(*trace, symbols_.data(), static_cast<std::size_t>(done_)));
      } else {
        mix(UntracedByte());
      }
    }
    return done_;
  }

  std::vector<uint8_t> finish() override {
    if (done_ != part_.size) throw std::logic_error("the block is not coded to its end");
    if constexpr (Coder::kKnowsSymbols) return coder_.coder.finish();
    coder_.coder.finish();
    return std::move(symbols_);
  }

 private:
  const LanePart part_;
  ContextMixer mixer_;
  Coder coder_;
  std::vector<uint8_t> symbols_;
  LaneHistory history_;
  int64_t done_ = 0;
};

template <class Coder>
std::unique_ptr<BlockCoder::Impl> make(Engine* engine, Geometry g, int table_bits,
                                       const uint8_t* input, std::size_t input_size,
                                       const std::string& isa) {
  if (engine) return std::make_unique<Run<Coder>>(*engine, g, table_bits, input, input_size);
  return std::make_unique<ContextRun<Coder>>(isa, g.size, table_bits, input, input_size);
}

}  // namespace

BlockCoder::BlockCoder(Engine* engine, Geometry g, int table_bits, Direction direction,
                       const uint8_t* input, std::size_t input_size, const std::string& isa,
                       bool trace) {
  if (!g.makes_sense()) {
    throw std::invalid_argument("lanes and prefix do not fit the block");
  }
  if (table_bits != 0 && (table_bits < kMinTableBits || table_bits > kMaxTableBits)) {
    throw std::invalid_argument("table_bits is out of range");
  }
  if (!engine && (g.lanes != 1 || g.prefix != 0 || table_bits == 0)) {
    throw std::invalid_argument("context models alone take one lane, no prefix and a table");
  }
  if (trace && direction == Direction::kDecode) {
    throw std::invalid_argument("only encoding is traced");
  }
  if (direction == Direction::kEncode) {
    if (input_size != static_cast<std::size_t>(g.size)) {
      throw std::invalid_argument("the input is not as long as the block");
    }
    impl_ = make<Encode>(engine, g, table_bits, input, input_size, isa);
  } else {
    impl_ = make<Decode>(engine, g, table_bits, input, input_size, isa);
  }
  if (trace) {
    const bool network = engine != nullptr, mixer = table_bits != 0;
    impl_->trace = std::make_unique<Trace>(static_cast<std::size_t>(g.size), network, mixer);
  }
}

BlockCoder::~BlockCoder() = default;

int64_t BlockCoder::run(int64_t bytes) {
  const std::lock_guard<std::mutex> alone(busy_);
  return impl_->run(bytes);
}

std::vector<uint8_t> BlockCoder::finish() {
  const std::lock_guard<std::mutex> alone(busy_);
  if (finished_) throw std::logic_error("the block is finished already");
  std::vector<uint8_t> result = impl_->finish();
  finished_ = true;
  return result;
}

Trace BlockCoder::take_trace() {
  const std::lock_guard<std::mutex> alone(busy_);
  if (!finished_ || !impl_->trace) throw std::logic_error("there is no trace of a whole block");
  Trace trace = std::move(*impl_->trace);
  impl_->trace.reset();
  return trace;
}

}  // namespace nncodec
