// The native engine under sanitizers: random models of awkward shapes, every instruction set of this
// machine, parallel against stepwise, threads, fork. No Python: what is wrong here is wrong in C++.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../../nncodec/csrc/engine.h"

using namespace nncodec;

namespace {

std::mt19937 rng(20261122);

int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

Matrix random_matrix(int out, int in) {
  std::vector<int8_t> weight(static_cast<std::size_t>(out) * in);
  for (int8_t& w : weight) w = static_cast<int8_t>(draw(-127, 127));
  std::vector<float> scale(static_cast<std::size_t>(out));
  for (float& s : scale) s = static_cast<float>(draw(1, 1000)) * 0x1p-18f;
  return {weight.data(), scale.data(), out, in};
}

Model random_model(int d_model, int kv_heads, int group, int head_dim, int d_ff,
                   const std::vector<int>& windows) {
  Model m;
  m.d_model = d_model;
  m.n_kv_heads = kv_heads;
  m.n_heads = kv_heads * group;
  m.head_dim = head_dim;
  m.d_ff = d_ff;
  m.rope_period = 64;
  for (int i = 0; i < head_dim / 2; ++i) m.turns.push_back(draw(1, 20));
  for (int i = 0; i < 64; ++i) {
    m.cos.push_back(static_cast<float>(draw(-16384, 16384)) * 0x1p-14f);
    m.sin.push_back(static_cast<float>(draw(-16384, 16384)) * 0x1p-14f);
  }
  for (int i = 0; i < 257 * d_model; ++i) m.embed.push_back(static_cast<int8_t>(draw(-127, 127)));
  m.embed_scale.assign(257, 0x1p-7f);
  const int heads = m.n_heads * head_dim, kv = kv_heads * head_dim;
  for (int window : windows) {
    m.layers.push_back({random_matrix(heads + 2 * kv, d_model), random_matrix(d_model, heads),
                        random_matrix(d_ff, d_model), random_matrix(d_model, d_ff),
                        std::vector<float>(static_cast<std::size_t>(m.n_heads), 0.2f), window});
  }
  m.head = random_matrix(256, d_model);
  return m;
}

// Counts of `lanes` lanes over `steps` positions, given in pieces of `stride`, after a shared token.
std::vector<int32_t> run(const Model& model, const char* isa, int threads, int lanes, int steps,
                         int stride, const std::vector<int32_t>& tokens) {
  Engine engine(model, threads, isa);
  State state(engine);
  const int32_t mark = 256;
  std::vector<int32_t> first(256), all(static_cast<std::size_t>(lanes) * steps * 256);
  state.advance(&mark, 1, first.data());
  state.fork(lanes);
  for (int at = 0; at < steps; at += stride) {
    const int n = stride < steps - at ? stride : steps - at;
    std::vector<int32_t> piece, counts(static_cast<std::size_t>(lanes) * n * 256);
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < n; ++i) piece.push_back(tokens[static_cast<std::size_t>(lane) * steps + at + i]);
    }
    state.advance(piece.data(), n, counts.data());
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < n * 256; ++i) {
        all[(static_cast<std::size_t>(lane) * steps + at) * 256 + i] =
            counts[static_cast<std::size_t>(lane) * n * 256 + i];
      }
    }
  }
  return all;
}

}  // namespace

int main() {
  const Model models[] = {
      random_model(32, 1, 2, 16, 64, {4, 16}),
      random_model(30, 2, 1, 6, 50, {1, 33}),  // nothing is a multiple of 4 or 16
      random_model(64, 1, 3, 10, 70, {70}),
  };
  for (const Model& model : models) {
    for (int lanes : {1, 3, 17, 40}) {
      const int steps = lanes > 10 ? 9 : 150;
      std::vector<int32_t> tokens(static_cast<std::size_t>(lanes) * steps);
      for (int32_t& t : tokens) t = draw(0, 256);
      const std::vector<int32_t> want = run(model, "portable", 1, lanes, steps, steps, tokens);
      for (std::size_t row = 0; row < want.size(); row += 256) {
        int64_t sum = 0;
        for (int i = 0; i < 256; ++i) sum += want[row + i] > 0 ? want[row + i] : -(1 << 30);
        if (sum != 1 << 24) return std::printf("counts of row %zu sum to %lld\n", row / 256, static_cast<long long>(sum)), 1;
      }
      for (const std::string& isa : available_isas()) {
        for (int threads : {1, 2}) {
          for (int stride : {1, 7, steps}) {
            if (run(model, isa.c_str(), threads, lanes, steps, stride, tokens) != want) {
              std::printf("%s, %d threads, %d lanes, stride %d: other counts\n", isa.c_str(), threads,
                          lanes, stride);
              return 1;
            }
          }
        }
      }
    }
  }
  std::puts("engine: all paths agree");
  return 0;
}
