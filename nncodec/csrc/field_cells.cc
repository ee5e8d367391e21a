#include "field_cells.h"

#include <algorithm>
#include <numeric>

namespace nncodec {

namespace {

struct Cluster {
  Cell sum;
  std::vector<std::size_t> cells;
  int64_t cost;
  int64_t gain = 0;  // of merging with the next one
};

uint64_t total(const Histogram& counts) {
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
}

// What the units' choice of a class costs, but for a term that is the same for all clusters.
int64_t choice(uint32_t units) { return units < 2 ? 0 : int64_t{units} * log2_fixed(units); }

int64_t cost_of(const Cell& cell) {
  return static_cast<int64_t>(std::min(coded_cost(cell.counts), total(cell.counts) << 19)) -
         choice(cell.units);
}

Cell merged(const Cell& a, const Cell& b) {
  Cell sum = a;
  sum.units += b.units;
  for (std::size_t s = 0; s < 256; ++s) sum.counts[s] += b.counts[s];
  return sum;
}

class Merger {
 public:
  explicit Merger(const std::vector<Cell>& cells) {
    std::vector<std::size_t> order(cells.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return cells[a].family != cells[b].family ? cells[a].family < cells[b].family
                                                : cells[a].scale < cells[b].scale;
    });
    for (std::size_t i : order) clusters_.push_back({cells[i], {i}, cost_of(cells[i])});
    for (std::size_t i = 0; i < clusters_.size(); ++i) clusters_[i].gain = gain(i);
  }

  void run(std::size_t most) {
    while (clusters_.size() > 1) {
      const auto best =
          std::max_element(clusters_.begin(), clusters_.end() - 1,
                           [](const Cluster& a, const Cluster& b) { return a.gain < b.gain; });
      if (best->gain == kNever || (best->gain <= 0 && clusters_.size() <= most)) break;
      Cluster& next = *(best + 1);
      best->cost += next.cost - best->gain;
      best->sum = merged(best->sum, next.sum);
      best->cells.insert(best->cells.end(), next.cells.begin(), next.cells.end());
      clusters_.erase(best + 1);
      const auto at = static_cast<std::size_t>(best - clusters_.begin());
      clusters_[at].gain = gain(at);
      if (at > 0) clusters_[at - 1].gain = gain(at - 1);
    }
  }

  const std::vector<Cluster>& clusters() const { return clusters_; }

 private:
  static constexpr int64_t kNever = INT64_MIN;

  int64_t gain(std::size_t i) const {
    if (i + 1 >= clusters_.size() || clusters_[i].sum.family != clusters_[i + 1].sum.family) return kNever;
    return clusters_[i].cost + clusters_[i + 1].cost -
           cost_of(merged(clusters_[i].sum, clusters_[i + 1].sum));
  }

  std::vector<Cluster> clusters_;
};

}  // namespace

Clusters cluster(const std::vector<Cell>& cells, std::size_t most_tables) {
  Merger merger(cells);
  merger.run(most_tables);
  Clusters out;
  out.class_of.resize(cells.size());
  for (const Cluster& c : merger.clusters()) {
    if (coded_cost(c.sum.counts) >= total(c.sum.counts) << 19) continue;
    out.tables.push_back(normalize(c.sum.counts));
    for (std::size_t cell : c.cells) out.class_of[cell] = static_cast<uint8_t>(out.tables.size());
  }
  return out;
}

}  // namespace nncodec
