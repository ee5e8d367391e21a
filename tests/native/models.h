// Random models of any shape, for tests of the engine without Python.
#pragma once

#include <random>
#include <vector>

#include "../../nncodec/csrc/model.h"

namespace models {

inline std::mt19937 rng(20261122);

inline int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

inline nncodec::Matrix random_matrix(int out, int in) {
  std::vector<int8_t> weight(static_cast<std::size_t>(out) * in);
  for (int8_t& w : weight) w = static_cast<int8_t>(draw(-127, 127));
  std::vector<float> scale(static_cast<std::size_t>(out));
  for (float& s : scale) s = static_cast<float>(draw(1, 1000)) * 0x1p-18f;
  return {weight.data(), scale.data(), out, in};
}

inline nncodec::Model random_model(int d_model, int kv_heads, int group, int head_dim, int d_ff,
                                   const std::vector<int>& windows, const std::vector<int32_t>& orders = {}) {
  nncodec::Model m;
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
  if (orders.empty()) return m;
  m.ngrams = {orders, 3, 5, {}, random_matrix(d_model, 5 * static_cast<int>(orders.size()))};
  m.ngrams.table.resize(8 * 5 * orders.size());
  for (int8_t& code : m.ngrams.table) code = static_cast<int8_t>(draw(-127, 127));
  return m;
}

}  // namespace models
