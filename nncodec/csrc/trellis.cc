#include "trellis.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace nncodec {
namespace {

constexpr std::size_t kLanes = 16;       // rows side by side: the compiler makes vectors of them
constexpr int kMostStates = 64;
constexpr int32_t kUnreached = 1 << 29;  // dearer than any path of six steps
constexpr std::size_t kNormalise = 16;   // steps; so many cost at most 2^28 more

using Lane = std::array<int32_t, kLanes>;

// The best index of each quantiser and parity, 2 q + p, and what it costs.
struct Branches {
  std::array<Lane, 4> index, cost;
};

struct Rates {
  const int32_t* table;
  int32_t magnitudes;
  int32_t operator()(int q, int32_t k) const {
    return table[q * magnitudes + std::min(k, magnitudes - 1)];
  }
};

// The two magnitudes of parity p around a position, and zero, which is cheap: the cheapest of them.
// A difference is at most 4 steps (zero is tried up to there), so its square at most 2^20.
void choose(int32_t position, const Rates& rates, std::size_t lane, Branches& out) {
  const int32_t a = position < 0 ? -position : position;
  for (int q = 0; q < 2; ++q) {
    for (int p = 0; p < 2; ++p) {
      int32_t below = (a + kTrellisScale * q) / (2 * kTrellisScale);
      if ((below & 1) != p) --below;  // -1: no such magnitude
      int32_t best = 0, least = kUnreached;
      const auto consider = [&](int32_t k) {
        const int32_t level = k == 0 ? 0 : (2 * k - q) * kTrellisScale;
        const int32_t d = a - level, cost = d * d + rates(q, k);
        if (cost < least) best = k, least = cost;
      };
      if (below >= 0) consider(below);
      consider(below + 2);
      if (p == 0 && below > 0 && a <= 4 * kTrellisScale) consider(0);
      const auto branch = static_cast<std::size_t>(2 * q + p);
      out.index[branch][lane] = position < 0 ? -best : best;
      out.cost[branch][lane] = least;
    }
  }
}

// The two ways into a state: from where, and by which branch.
struct Entry {
  std::array<uint8_t, 2> from, branch;
};

std::vector<Entry> entries(const TrellisCode& code) {
  std::vector<Entry> list(static_cast<std::size_t>(code.states));
  std::vector<int> known(list.size(), 0);
  for (int s = 0; s < code.states; ++s) {
    for (int p = 0; p < 2; ++p) {
      const int odd = s & 1;
      const int to = s >> 1 ^ (odd != 0 ? code.odd_state : 0) ^ (p != 0 ? code.odd_index : 0);
      if (to >= code.states || known[static_cast<std::size_t>(to)] == 2) {
        throw std::invalid_argument("the trellis is no permutation: a state needs two ways in");
      }
      const auto way = static_cast<std::size_t>(known[static_cast<std::size_t>(to)]++);
      list[static_cast<std::size_t>(to)].from[way] = static_cast<uint8_t>(s);
      list[static_cast<std::size_t>(to)].branch[way] = static_cast<uint8_t>(2 * odd + p);
    }
  }
  return list;
}

// Up to kLanes rows at once. What a step decided is kept: a byte for each state and lane.
class Search {
 public:
  Search(const TrellisCode& code, const Rates& rates, std::size_t cols)
      : entries_(entries(code)), rates_(rates), cols_(cols), branches_(cols),
        ways_(cols * entries_.size()) {}

  void run(const int32_t* positions, std::size_t rows, int32_t* out) {
    for (std::size_t s = 0; s < entries_.size(); ++s) costs_[s].fill(s == 0 ? 0 : kUnreached);
    for (std::size_t c = 0; c < cols_; ++c) {
      for (std::size_t r = 0; r < kLanes; ++r) {
        choose(positions[std::min(r, rows - 1) * cols_ + c], rates_, r, branches_[c]);
      }
      step(c);
      if (c % kNormalise == kNormalise - 1) normalise();
    }
    for (std::size_t r = 0; r < rows; ++r) trace(r, out + r * cols_);
  }

 private:
  void step(std::size_t c) {
    const Branches& b = branches_[c];
    for (std::size_t s = 0; s < entries_.size(); ++s) {
      const Entry& e = entries_[s];
      const Lane &cost0 = costs_[e.from[0]], &cost1 = costs_[e.from[1]];
      const Lane &branch0 = b.cost[e.branch[0]], &branch1 = b.cost[e.branch[1]];
      std::array<uint8_t, kLanes>& way = ways_[c * entries_.size() + s];
      for (std::size_t r = 0; r < kLanes; ++r) {
        const int32_t x = cost0[r] + branch0[r], y = cost1[r] + branch1[r];
        next_[s][r] = y < x ? y : x;
        way[r] = y < x;
      }
    }
    std::swap(costs_, next_);
  }

  void normalise() {
    Lane least = costs_[0];
    for (std::size_t s = 1; s < entries_.size(); ++s) {
      for (std::size_t r = 0; r < kLanes; ++r) least[r] = std::min(least[r], costs_[s][r]);
    }
    for (std::size_t s = 0; s < entries_.size(); ++s) {
      for (std::size_t r = 0; r < kLanes; ++r) costs_[s][r] -= least[r];
    }
  }

  void trace(std::size_t lane, int32_t* out) const {
    std::size_t state = 0;
    for (std::size_t s = 1; s < entries_.size(); ++s) {
      if (costs_[s][lane] < costs_[state][lane]) state = s;
    }
    for (std::size_t c = cols_; c-- > 0;) {
      const std::size_t way = ways_[c * entries_.size() + state][lane];
      out[c] = branches_[c].index[entries_[state].branch[way]][lane];
      state = entries_[state].from[way];
    }
  }

  std::vector<Entry> entries_;
  Rates rates_;
  std::size_t cols_;
  std::vector<Branches> branches_;
  std::vector<std::array<uint8_t, kLanes>> ways_;
  std::array<Lane, kMostStates> costs_{}, next_{};
};

}  // namespace

std::vector<int32_t> trellis_quantize(const TrellisCode& code, const int32_t* positions,
                                      std::size_t rows, std::size_t cols, const int32_t* rates,
                                      std::size_t magnitudes) {
  if (code.states < 4 || code.states > kMostStates || (code.states & (code.states - 1)) != 0) {
    throw std::invalid_argument("a trellis has 4, 8, 16, 32 or 64 states");
  }
  if (magnitudes < 1 || magnitudes > kTrellisMostIndex + 1) {
    throw std::invalid_argument("rates of 1 to 32768 magnitudes are needed");
  }
  for (std::size_t i = 0; i < 2 * magnitudes; ++i) {
    if (rates[i] < 0 || rates[i] > kTrellisMostRate) throw std::invalid_argument("a rate is out of bounds");
  }
  constexpr int32_t most = (2 * kTrellisMostIndex - 4) * kTrellisScale;
  for (std::size_t i = 0; i < rows * cols; ++i) {
    if (positions[i] < -most || positions[i] > most) {
      throw std::invalid_argument("a weight lies too many steps from zero");
    }
  }
  std::vector<int32_t> out(rows * cols);
  if (out.empty()) return out;
  Search search(code, {rates, static_cast<int32_t>(magnitudes)}, cols);
  for (std::size_t r = 0; r < rows; r += kLanes) {
    search.run(positions + r * cols, std::min(kLanes, rows - r), out.data() + r * cols);
  }
  return out;
}

}  // namespace nncodec
