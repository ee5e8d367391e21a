#include "engine.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <system_error>
#include <utility>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace nncodec {

Scratch::Scratch(const Model& m)
    : width(round_up(m.d_model, 16)),
      wide(0),
      outputs(0),
      channels(round_up(m.head_dim, 16)),
      slots(0) {
  const int heads = m.n_heads * m.head_dim;
  for (int n : {m.d_model, heads + 2 * m.n_kv_heads * m.head_dim, m.d_ff, heads, 256, m.ngrams.proj.in}) {
    wide = std::max(wide, round_up(n, 64));
  }
  outputs = std::max(wide, round_up(m.head.out, 64));
  for (const Layer& layer : m.layers) {
    outputs = std::max(outputs, round_up(layer.up.out, 64));
    slots = std::max(slots, round_up(layer.window + kMaxSteps - 1, 16));
  }
  x.resize(static_cast<std::size_t>(kMaxRows) * width);
  wide_f.resize(outputs);
  norm.resize(channels);
  cos.resize(static_cast<std::size_t>(kMaxRows) * m.head_dim / 2);
  sin.resize(cos.size());
  constexpr int kHeadsAtOnce = 4;
  weights_f.resize(static_cast<std::size_t>(kHeadsAtOnce) * slots);
  weights.resize(static_cast<std::size_t>(kHeadsAtOnce) * slots);
  if (m.causal()) weights_low.resize(weights.size());
  scores.resize(kHeadsAtOnce * 64);
  visible.resize(slots);
  q_scale.resize(static_cast<std::size_t>(kMaxRows) * m.n_heads);
  queries.resize(static_cast<std::size_t>(kMaxRows) * m.n_heads * channels);
  codes.resize(static_cast<std::size_t>(kMaxRows) * wide);
  acc.resize(static_cast<std::size_t>(kMaxRows) * outputs);
  shorts.resize((kMaxRows + 16) * 256);
}

int64_t now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {

long current_process() {
#if defined(_WIN32)
  return 0;  // no fork there
#else
  return getpid();
#endif
}

}  // namespace

Pool::Pool(int threads) : process_(current_process()) {
  for (int i = 1; i < threads; ++i) {
    try {
      workers_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {
      break;  // the system gives no more threads: go on with those there are
    }
  }
}

void Pool::serve() {
  for (unsigned seen = 0;;) {
    round_.wait(seen);
    seen = round_.load();
    if (stop_) return;
    take();
    if (busy_.fetch_sub(1) == 1) busy_.notify_one();
  }
}

bool Pool::forked() const { return current_process() != process_; }

Pool::~Pool() {
  if (forked()) {
    for (std::thread& worker : workers_) worker.detach();
    return;
  }
  stop_ = true;
  ++round_;
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::take() {
  for (int i; (i = next_.fetch_add(1)) < limit_;) (*work_)(i);
}

void Pool::run(int n, const std::function<void(int)>& work) {
  work_ = &work;
  limit_ = n;
  next_ = 0;
  if (workers_.empty() || n == 1 || forked()) return take();
  busy_ = static_cast<int>(workers_.size());
  ++round_;
  round_.notify_all();
  take();
  for (int left; (left = busy_.load()) != 0;) busy_.wait(left);
}

Engine::Engine(Model model, int threads, const std::string& isa)
    : model_(std::move(model)), kernels_(choose_kernels(isa)), pool_(threads) {
  scratch_.assign(static_cast<std::size_t>(pool_.size()), Scratch(model_));
}

void Engine::measure(bool on) {
  const std::lock_guard<std::mutex> alone(busy_);
  for (Scratch& scratch : scratch_) {
    scratch.timed = on;
    if (on) std::fill_n(scratch.ns, kStages, 0);
  }
}

std::array<int64_t, kStages> Engine::stage_ns() {
  const std::lock_guard<std::mutex> alone(busy_);
  std::array<int64_t, kStages> total{};
  for (const Scratch& scratch : scratch_) {
    for (int i = 0; i < kStages; ++i) total[i] += scratch.ns[i];
  }
  return total;
}

std::vector<Cache> Engine::make_caches(int steps) const {
  std::vector<Cache> caches;
  for (const Layer& layer : model_.layers) caches.emplace_back(model_, layer.window, steps);
  return caches;
}

State::State(Engine& engine) : engine_(engine), caches_(engine.make_caches(kMaxSteps)) {
  recent_.resize(1);
  recent_[0].fill(kBeginOfBlock);
}

void State::fork(int lanes) {
  const std::lock_guard<std::mutex> alone(engine_.busy());
  if (lanes_ != 1) throw std::invalid_argument("only a state of one lane can fork");
  if (lanes < 1) throw std::invalid_argument("a state needs at least one lane");
  for (Cache& cache : caches_) cache.fork(lanes);
  recent_.resize(static_cast<std::size_t>(lanes), recent_[0]);
  lanes_ = lanes;  // last: memory may have run out on the way
}

void State::advance(const int32_t* tokens, int lanes, int steps, int32_t* counts) {
  if (engine_.model().causal()) throw std::invalid_argument("this model has counts of tokens");
  run(tokens, lanes, steps, 0, [counts, steps](Row& row, int step) {
    row.counts = counts + (static_cast<std::size_t>(row.lane) * steps + step) * 256;
  });
}

void State::advance_wide(const int32_t* tokens, int lanes, int steps, int wanted, uint32_t* counts) {
  const Model& m = engine_.model();
  if (!m.causal()) throw std::invalid_argument("this model has counts of bytes");
  const std::size_t outputs = static_cast<std::size_t>(m.head.out);
  const int skipped = steps - wanted;
  run(tokens, lanes, steps, skipped, [=](Row& row, int step) {
    if (step < skipped) return;
    row.wide = counts + (static_cast<std::size_t>(row.lane) * wanted + (step - skipped)) * outputs;
  });
}

// `place` says where a row's counts go. No call of the kernels has steps on both sides of `cut`.
void State::run(const int32_t* tokens, int lanes, int steps, int cut,
                const std::function<void(Row&, int)>& place) {
  const std::lock_guard<std::mutex> alone(engine_.busy());
  // Only now: another thread may have forked or advanced it until then.
  if (lanes != lanes_) {
    throw std::invalid_argument("tokens for " + std::to_string(lanes) + " lanes, the state has " +
                                std::to_string(lanes_));
  }
  if (engine_.model().causal() && position_ + steps > engine_.model().layers[0].window) {
    throw std::invalid_argument("the context is full");
  }
  const auto row = [&](int lane, int step) {
    const std::size_t at = static_cast<std::size_t>(lane) * steps + step;
    Row row{lane, {}, position_ + step, nullptr, nullptr};
    const auto& before = recent_[static_cast<std::size_t>(lane)];
    for (int i = 0; i < kMaxOrder; ++i) {
      row.tokens[i] = i <= step ? tokens[at - i] : before[i - step - 1];
    }
    place(row, step);
    return row;
  };
  // Many lanes: a thread takes a run of lanes through all steps, up to kMaxRows lanes at a time.
  // Few lanes: one lane's next steps are the rows, so that the products still have several.
  const int threads = engine_.threads();
  const int share = std::max(1, std::min(kMaxRows, (lanes_ + threads - 1) / threads));
  const bool along_time = steps > 1 && share < 8;
  const int lanes_a_task = along_time ? 1 : share;
  const int tasks = (lanes_ + lanes_a_task - 1) / lanes_a_task;
  // A task borrows whichever scratch is free; there are as many as threads.
  std::vector<std::atomic_flag> taken(static_cast<std::size_t>(threads));
  engine_.pool().run(tasks, [&](int task) {
    int own = 0;
    while (taken[static_cast<std::size_t>(own)].test_and_set()) own = (own + 1) % threads;
    Scratch& scratch = engine_.scratch(own);
    const int first = task * lanes_a_task, last = std::min(lanes_, first + lanes_a_task);
    Row rows[kMaxRows];
    if (along_time) {
      for (int step = 0, n; step < steps; step += n) {
        n = std::min(kMaxSteps, (step < cut ? cut : steps) - step);
        for (int i = 0; i < n; ++i) rows[i] = row(first, step + i);
        engine_.kernels().forward(engine_.model(), caches_, scratch, rows, n);
      }
    } else {
      for (int step = 0; step < steps; ++step) {
        for (int lane = first; lane < last; ++lane) rows[lane - first] = row(lane, step);
        engine_.kernels().forward(engine_.model(), caches_, scratch, rows, last - first);
      }
    }
    taken[static_cast<std::size_t>(own)].clear();
  });
  if (steps) {
    for (int lane = 0; lane < lanes_; ++lane) {
      recent_[static_cast<std::size_t>(lane)] = row(lane, steps - 1).tokens;
    }
  }
  position_ += steps;
}

}  // namespace nncodec
