// The native engine: states of many lanes, rows spread over threads, kernels chosen at run time.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "isa.h"
#include "model.h"

namespace nncodec {

// Threads that wait for work; `run` hands out the indices 0..n-1 and returns when all are done. In a
// forked child, where the threads do not exist, the caller does all of the work. (An engine that
// another thread was using at the fork is locked for good in the child: make a new one there.)
class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  int size() const { return static_cast<int>(workers_.size()) + 1; }
  void run(int n, const std::function<void(int)>& work);

 private:
  void take();
  void serve();
  bool forked() const;
  const long process_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<int> next_{0}, limit_{0}, busy_{0};
  std::atomic<unsigned> round_{0};
  std::atomic<bool> stop_{false};
};

class Engine {
 public:
  // `isa` as for choose_kernels.
  Engine(Model model, int threads, const std::string& isa);
  const char* isa() const { return kernels_.isa; }
  int threads() const { return pool_.size(); }
  // Starts to count the time of each stage, from zero, or stops to.
  void measure(bool on);
  // Thread-nanoseconds by Stage since measure(true).
  std::array<int64_t, kStages> stage_ns();

  // For those that run the model: they hold busy() while they use the pool and the scratch buffers,
  // of which there is one a thread.
  const Model& model() const { return model_; }
  const Kernels& kernels() const { return kernels_; }
  Pool& pool() { return pool_; }
  Scratch& scratch(int worker) { return scratch_[static_cast<std::size_t>(worker)]; }
  std::mutex& busy() { return busy_; }
  // Caches of one lane at its beginning, for `steps` positions in flight at once.
  std::vector<Cache> make_caches(int steps) const;

 private:
  Model model_;
  const Kernels& kernels_;
  Pool pool_;
  std::vector<Scratch> scratch_;
  std::mutex busy_;
};

// Where a set of lanes stands. States of one engine take turns.
class State {
 public:
  explicit State(Engine& engine);
  void fork(int lanes);
  // tokens (lanes, steps) in [0, 256] -> counts (lanes, steps, 256). Throws std::invalid_argument for
  // another number of lanes than there are.
  void advance(const int32_t* tokens, int lanes, int steps, int32_t* counts);
  // Of a model over tokens: ids (lanes, steps) -> counts (lanes, wanted, outputs) behind the last
  // `wanted` ones. Throws std::invalid_argument if the context has no room for them.
  void advance_wide(const int32_t* tokens, int lanes, int steps, int wanted, uint32_t* counts);
  const Model& model() const { return engine_.model(); }

 private:
  void run(const int32_t* tokens, int lanes, int steps, int cut, const std::function<void(Row&, int)>& place);
  Engine& engine_;
  int lanes_ = 1;
  int64_t position_ = 0;
  std::vector<Cache> caches_;
  std::vector<Recent> recent_;  // by lane, the newest token first
};

}  // namespace nncodec
