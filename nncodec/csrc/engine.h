// The native engine: states of many lanes, rows spread over threads, kernels chosen at run time.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "model.h"

namespace nncodec {

// Instruction sets that this machine runs and this build holds, best first.
std::vector<std::string> available_isas();

// Threads that wait for work; `run` hands out the indices 0..n-1 and returns when all are done. In a
// forked child, where the threads do not exist, the caller does all of the work.
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
  // `isa` is one of available_isas(), or empty for the best. Throws std::invalid_argument.
  Engine(Model model, int threads, const std::string& isa);
  const std::string& isa() const { return isa_; }
  int threads() const { return pool_.size(); }

 private:
  friend class State;
  Model model_;
  std::string isa_;
  Forward forward_;
  Pool pool_;
  std::vector<Scratch> scratch_;
  std::mutex busy_;  // pool and scratch serve one state at a time
};

// Where a set of lanes stands. States of one engine take turns.
class State {
 public:
  explicit State(Engine& engine);
  int lanes() const { return lanes_; }
  void fork(int lanes);
  // tokens (lanes, steps) in [0, 256] -> counts (lanes, steps, 256).
  void advance(const int32_t* tokens, int steps, int32_t* counts);

 private:
  Engine& engine_;
  int lanes_ = 1;
  int64_t position_ = 0;
  std::vector<Cache> caches_;
};

}  // namespace nncodec
