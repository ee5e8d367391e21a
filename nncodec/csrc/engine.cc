#include "engine.h"

#include <algorithm>
#include <stdexcept>
#include <system_error>
#include <utility>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace nncodec {

namespace {

struct Isa {
  const char* name;
  Forward forward;
  bool (*here)();
};

const Isa kIsas[] = {
#if defined(__x86_64__)
    {"avx512", avx512::forward,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vnni");
     }},
    {"avx2", avx2::forward, [] { return __builtin_cpu_supports("avx2") != 0; }},
#endif
    {"portable", portable::forward, [] { return true; }},
};

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) {
    if (isa.here()) names.emplace_back(isa.name);
  }
  return names;
}

Scratch::Scratch(const Model& m)
    : width(round_up(m.d_model, 16)), wide(0), channels(round_up(m.head_dim, 16)), slots(0) {
  const int heads = m.n_heads * m.head_dim;
  for (int n : {m.d_model, heads + 2 * m.n_kv_heads * m.head_dim, m.d_ff, heads, 256}) {
    wide = std::max(wide, round_up(n, 64));
  }
  for (const Layer& layer : m.layers) {
    slots = std::max(slots, round_up(layer.window + kMaxSteps - 1, 16));
  }
  x.resize(static_cast<std::size_t>(kMaxRows) * width);
  wide_f.resize(wide);
  norm.resize(channels);
  cos.resize(static_cast<std::size_t>(kMaxRows) * m.head_dim / 2);
  sin.resize(cos.size());
  weights_f.resize(slots);
  weights.resize(slots);
  scores.resize(std::max(slots, channels));
  q_scale.resize(static_cast<std::size_t>(kMaxRows) * m.n_heads);
  queries.resize(static_cast<std::size_t>(kMaxRows) * (m.n_heads + 1) * channels);
  codes.resize(static_cast<std::size_t>(kMaxRows) * wide);
  acc.resize(static_cast<std::size_t>(kMaxRows) * wide);
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
    : model_(std::move(model)), forward_(nullptr), pool_(threads) {
  for (const Isa& candidate : kIsas) {
    if (candidate.here() && (isa.empty() || isa == candidate.name)) {
      isa_ = candidate.name;
      forward_ = candidate.forward;
      break;
    }
  }
  if (!forward_) {
    std::string names;
    for (const std::string& name : available_isas()) names += " " + name;
    throw std::invalid_argument("no kernels for '" + isa + "' here; available:" + names);
  }
  scratch_.assign(static_cast<std::size_t>(pool_.size()), Scratch(model_));
}

State::State(Engine& engine) : engine_(engine) {
  for (const Layer& layer : engine.model_.layers) caches_.emplace_back(engine.model_, layer.window);
}

void State::fork(int lanes) {
  if (lanes_ != 1) throw std::invalid_argument("only a state of one lane can fork");
  if (lanes < 1) throw std::invalid_argument("a state needs at least one lane");
  for (Cache& cache : caches_) {
    cache.resize(lanes);
    const auto repeat = [lanes](auto& values) {
      const std::size_t one = values.size() / lanes;
      for (int i = 1; i < lanes; ++i) {
        std::copy_n(values.begin(), one, values.begin() + static_cast<std::ptrdiff_t>(i * one));
      }
    };
    repeat(cache.keys);
    repeat(cache.values);
    repeat(cache.key_sums);
    repeat(cache.key_scales);
  }
  lanes_ = lanes;  // last: memory may have run out on the way
}

void State::advance(const int32_t* tokens, int steps, int32_t* counts) {
  const std::lock_guard<std::mutex> alone(engine_.busy_);
  const auto row = [&](int lane, int step) {
    const std::size_t at = static_cast<std::size_t>(lane) * steps + step;
    return Row{lane, tokens[at], position_ + step, counts + at * 256};
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
  engine_.pool_.run(tasks, [&](int task) {
    int own = 0;
    while (taken[static_cast<std::size_t>(own)].test_and_set()) own = (own + 1) % threads;
    Scratch& scratch = engine_.scratch_[static_cast<std::size_t>(own)];
    const int first = task * lanes_a_task, last = std::min(lanes_, first + lanes_a_task);
    Row rows[kMaxRows];
    if (along_time) {
      for (int step = 0; step < steps; step += kMaxSteps) {
        const int n = std::min(kMaxSteps, steps - step);
        for (int i = 0; i < n; ++i) rows[i] = row(first, step + i);
        engine_.forward_(engine_.model_, caches_, scratch, rows, n);
      }
    } else {
      for (int step = 0; step < steps; ++step) {
        for (int lane = first; lane < last; ++lane) rows[lane - first] = row(lane, step);
        engine_.forward_(engine_.model_, caches_, scratch, rows, last - first);
      }
    }
    taken[static_cast<std::size_t>(own)].clear();
  });
  position_ += steps;
}

}  // namespace nncodec
