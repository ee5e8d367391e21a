#include "context_mixer.h"

namespace nncodec {

namespace {

constexpr int kMatchBits = 20;
constexpr int kMinMatch = 5;      // bytes hashed to find a match
constexpr int kVerified = 32;     // bytes of a new match that are compared
constexpr int kMaxMatch = 65535;
constexpr int kMaxMisses = 7;     // of a match's last 8 bytes, before it is given up
constexpr int kWeightOne = 1 << 16;
constexpr int kHistoryLimit = 255, kOrder0Limit = 255, kMatchLimit = 1023;
constexpr int kRefineRate = 5;
constexpr int kSettledShare = 512;  // of the table's slots are taken when it may cost all of its memory
constexpr int kSlowRate = 96, kFastRate = 400, kRateBytes = 16384;  // of the mixers, in 1/256

uint32_t hash(uint64_t value, int which) {
  uint64_t h = (value + (static_cast<uint64_t>(which + 1) << 56)) * 0x9E3779B97F4A7C15u;
  h ^= h >> 29;
  h *= 0xD6E8FEB86659FD93u;
  return static_cast<uint32_t>(h >> 32);
}

// A context's hash and the bits of the byte that are known at the start of a nibble -> its slot.
uint32_t slot_hash(uint32_t context, int c0) {
  const uint32_t h = (context + static_cast<uint32_t>(c0) * 0x2F0B4C47u) * 0x9E3779B1u;
  return h ^ h >> 15;
}

uint32_t match_hash(uint64_t last8) {
  return static_cast<uint32_t>((last8 & 0xffffffffffu) * 0x9E3779B97F4A7C15u >> (64 - kMatchBits));
}

int match_bucket(int length) {
  if (length == 0) return 0;
  if (length < 16) return 1 + length / 2;
  if (length < 32) return 9 + (length - 16) / 8;
  return length < 64 ? 11 : length < 128 ? 12 : length < 256 ? 13 : length < 512 ? 14 : 15;
}

bool is_word(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 128;
}

}  // namespace

ContextMixer::ContextMixer(const Kernels& kernels, int table_bits, Network network)
    : kernels_(kernels), network_(network), table_bits_(table_bits), table_(std::size_t{1} << table_bits),
      matches_(std::size_t{1} << kMatchBits),
      refine_{ZeroedTable<uint16_t>(kRefineStride * kRefineContexts),
              ZeroedTable<uint16_t>(kRefineStride * kRefineContexts),
              ZeroedTable<uint16_t>(kRefineStride * kRefineContexts)} {
  for (auto& map : history_maps_) {
    for (std::size_t s = 0; s < kHistories.states.size(); ++s) {
      const auto& c = kHistories.states[s];
      const int p16 = (c.ones * 2 + 1) * (kProbabilityOne - 1) / (2 * (c.zeros + c.ones) + 2);
      map[s] = static_cast<uint32_t>(p16) << 16;
    }
  }
  for (std::size_t i = 0; i < match_map_.size(); ++i) match_map_[i].set(60000);
  // In percent, of each context and of the network.
  const int first = network == Network::kNone ? 15 : network == Network::kTrained ? 8 : 12;
  const int share = network == Network::kNone ? 0 : network == Network::kTrained ? 60 : 20;
  const int sizes[kSets] = {128, 256, 256, 256, 8 * 16};
  for (int s = 0; s < kSets; ++s) {
    weights_[s].assign(static_cast<std::size_t>(sizes[s]) * kMixInputs, 0);
    for (int n = 0; n < sizes[s]; ++n) {
      int32_t* w = weights_[s].data() + n * kMixInputs;
      for (int i = 0; i < kContexts; ++i) w[i] = kWeightOne * first / 100;
      w[2 * kContexts + 1] = kWeightOne / 4;
      w[2 * kContexts + 3] = kWeightOne * share / 100;
    }
  }
  final_weights_.assign(256 * kSets, kWeightOne / kSets);
  for (int j = 0; j < kRefineCells; ++j) {
    first_cells_[j] = static_cast<uint16_t>(squash((j - kRefineCells / 2) * kRefineStep));
  }
}

void ContextMixer::begin(const uint8_t* symbols, const LanePart& part, int lane, int64_t step,
                         LaneHistory& h) {
  if (!settled_ && taken_ >= (int64_t{4} << table_bits_) / kSettledShare) {
    settled_ = true;
    table_.settle();
    matches_.settle();
    for (auto& map : refine_) map.settle();
  }
  const uint64_t last = h.last8;
  hash_contexts(symbols, part.at(lane, step), h);
  c0_ = 1;
  bit_ = 0;
  rate_ = kSlowRate + kFastRate * kRateBytes / (kRateBytes + bytes_++);
  c1_ = static_cast<int>(last & 0xff);
  c3_ = static_cast<uint32_t>(last & 0xffffff);
  if (h.match >= 0 && !part.known(h.match, lane, step)) h.match = -1;
  expected_ = h.match >= 0 ? symbols[h.match] : -1;
  match_bucket_ = match_bucket(h.match >= 0 ? h.match_length : 0);
  const int missed = __builtin_popcount(h.misses & 0xff);
  match_misses_ = static_cast<int>(h.misses & 3) | (missed > 2 ? 4 : 0);
  hashes_ = h.hashes;
  hashes_[kMatchContext] = hash(static_cast<uint64_t>(expected_ + 1) |
                                    static_cast<uint64_t>(match_bucket_) << 16 | (last & 0xff) << 32,
                                kMatchContext);
  refine_contexts_[0] = static_cast<uint32_t>(c1_) << 7;
  refine_contexts_[1] = (c3_ * 0x9E3779B1u) >> 17;
  refine_contexts_[2] = (static_cast<uint32_t>(expected_ + 1) * 0x9E3779B1u) >> 17 ^
                        static_cast<uint32_t>(match_bucket_) * 0x2AA8u;
  find_refinements();
  find_slots();
}

// The hashes of the contexts of the byte at a position, if that is not done yet.
void ContextMixer::hash_contexts(const uint8_t* symbols, int64_t at, LaneHistory& h) {
  if (h.hashed_for == at) return;
  h.hashed_for = at;
  const uint64_t last = h.last8, c1 = last & 0xff, word = h.word;
  const auto column = static_cast<uint64_t>(at - h.line);
  const auto byte_at = [&](int64_t p) { return p < h.line ? uint64_t{symbols[p]} : 0; };
  const int64_t r = h.record;
  const bool recorded = r != 0 && at - 2 * r >= h.run;
  const uint64_t up = recorded ? symbols[at - r] : 0, up2 = recorded ? symbols[at - 2 * r] : 0;
  const uint64_t contexts[kContexts] = {
      c1,
      last & 0xffff,
      last & 0xffffff,
      0,  // the match's, which is known when the byte begins
      last & 0xffffffffffff,
      word | c1 << 32,
      word ^ uint64_t{h.previous_word} << 24,
      last & 0xf0ffff00,
      h.followers[c1] | c1 << 16,
      recorded ? up | c1 << 8 | uint64_t{1} << 50 : word ^ uint64_t{h.word_before} << 24,
      recorded ? up | up2 << 8 | static_cast<uint64_t>(at % r) << 16 | uint64_t{1} << 50
               : last ^ last >> 56,
      byte_at(h.aligned) | byte_at(h.aligned + 1) << 8 | (last & 0xffff) << 16,
      column | c1 << 32,
      last & 0xf0f0f0f0f0,
      word ^ uint64_t{h.marks} << 32,
      last & 0xffffffff,
  };
  for (int i = 0; i < kContexts; ++i) h.hashes[i] = hash(contexts[i], i);
}

uint8_t* ContextMixer::find(uint32_t h) {
  Line& line = line_of(h);
  const uint32_t check = std::max<uint32_t>(h & 0xff, 1);
  const uint32_t checks = line.checks[0] | uint32_t{line.checks[1]} << 8 |
                          uint32_t{line.checks[2]} << 16 | uint32_t{line.checks[3]} << 24;
  // The lowest byte of `checks` that equals `check`, all at once.
  const uint32_t differ = checks ^ check * 0x01010101u;
  const uint32_t equal = (differ - 0x01010101u) & ~differ & 0x80808080u;
  if (equal) return line.states[__builtin_ctz(equal) >> 3];
  int worst = 0;
  for (int i = 1; i < 4; ++i) {
    if (line.states[i][0] < line.states[worst][0]) worst = i;
  }
  ++taken_;
  line.checks[worst] = static_cast<uint8_t>(check);
  std::fill_n(line.states[worst], 15, uint8_t{0});
  return line.states[worst];
}

void ContextMixer::find_slots() {
  for (int i = 0; i < kContexts; ++i) slots_[i] = find(slot_hash(hashes_[i], c0_));
}

// The maps' rows for the next bit; and since they are seldom in the cache, those of the two bits that
// may come after it are asked for now: they lie side by side.
void ContextMixer::find_refinements() {
  constexpr uint32_t kSpread[kRefinements] = {1, 0x3D4D, 0x3D4D};
  for (int i = 0; i < kRefinements; ++i) {
    const auto row = [&](uint32_t c0) {
      const uint32_t pair = (refine_contexts_[i] ^ (c0 >> 1) * kSpread[i]) & (kRefineContexts / 2 - 1);
      return &refine_[i][std::size_t{pair * 2 + (c0 & 1)} * kRefineStride];
    };
    const auto c0 = static_cast<uint32_t>(c0_);
    refine_rows_[i] = row(c0);
    __builtin_prefetch(row(2 * c0));
    __builtin_prefetch(row(2 * c0 + 1));
  }
}

int ContextMixer::predict(int network) {
  // Within a nibble the states form a binary tree: 0, then 1-2, 3-6, 7-14.
  const int depth = bit_ & 3;
  node_ = (1 << depth) - 1 + (c0_ & ((1 << depth) - 1));
  int seen = 0;
  for (int i = 0; i < kContexts; ++i) {
    states_[i] = slots_[i][node_];
    learners_[i] = history_maps_[i][states_[i]];
    seen += states_[i] != 0;
  }
  kernels_.read_histories(learners_.data(), inputs_.data());
  int32_t* x = inputs_.data() + 2 * kContexts;
  x[0] = stretch(order0_[c0_].p16());
  match_context_ = -1;
  x[1] = x[2] = 0;
  if (expected_ >= 0 && ((expected_ | 256) >> (8 - bit_)) == c0_) {
    const int expected_bit = expected_ >> (7 - bit_) & 1;
    match_context_ = (match_bucket_ * 8 + match_misses_) * 2 + expected_bit;
    const int p = match_map_[match_context_].p16();
    const int sign = expected_bit ? 1 : -1;
    x[1] = sign * stretch(p);
    x[2] = sign * ((p - 32768) >> 5);
  } else if (expected_ >= 0) {
    expected_ = -1;
    match_bucket_ = 0;
  }
  int confidence = std::min(seen, 15);
  if (network_ != Network::kNone) {
    x[3] = stretch(network);
    x[4] = (network - 32768) >> 5;
    if (network_ == Network::kTrained) confidence = std::clamp((x[3] + 2048) >> 8, 0, 15);
  }
  x[5] = 256;

  chosen_[0] = weights_[0].data() + (match_bucket_ * 8 + match_misses_) * kMixInputs;
  chosen_[1] = weights_[1].data() + c0_ * kMixInputs;
  chosen_[2] = weights_[2].data() + c1_ * kMixInputs;
  chosen_[3] = weights_[3].data() + (c3_ >> 8 & 0xff) * kMixInputs;
  chosen_[4] = weights_[4].data() + (bit_ * 16 + confidence) * kMixInputs;
  chosen_final_ = final_weights_.data() + c0_ * kSets;
  int32_t final_sum = 0;
  kernels_.mix_dot(inputs_.data(), chosen_, kSets, output_logits_);
  for (int s = 0; s < kSets; ++s) {
    const int logit = std::clamp(output_logits_[s], -kMaxLogit, kMaxLogit);
    output_logits_[s] = logit;
    outputs_[s] = squash(logit);
    final_sum += (logit * chosen_final_[s]) >> 8;
  }
  const int logit = std::clamp(final_sum >> 8, -kMaxLogit, kMaxLogit);
  mixed_ = squash(logit);

  const int shifted = logit + kRefineCells / 2 * kRefineStep;
  const int cell = shifted / kRefineStep, rest = shifted % kRefineStep;
  int p = mixed_;
  for (int i = 0; i < kRefinements; ++i) {
    uint16_t* cells = refine_rows_[i] + cell;
    const int low = static_cast<uint16_t>(cells[0] + first_cells_[cell]);
    const int high = static_cast<uint16_t>(cells[1] + first_cells_[cell + 1]);
    p += (low * (kRefineStep - rest) + high * rest) / kRefineStep;
    const int nearer = rest > kRefineStep / 2 ? 1 : 0;
    refined_cells_[i] = cells + nearer;
    refined_[i] = nearer ? high : low;
  }
  p = (p + 2) >> 2;
  return std::clamp(p, 1, kProbabilityOne - 1);
}

void ContextMixer::update(int bit) {
  kernels_.learn_histories(learners_.data(), bit, kHistoryLimit);
  for (int i = 0; i < kContexts; ++i) {
    history_maps_[i][states_[i]] = learners_[i];
    slots_[i][node_] = kHistories.next[states_[i]][bit];
  }
  order0_[c0_].update(bit, kOrder0Limit);
  if (match_context_ >= 0) match_map_[match_context_].update((match_context_ & 1) == bit, kMatchLimit);

  const int target = bit << 16;
  const int final_error = (target - mixed_) >> 2;
  int32_t errors[kSets];
  for (int s = 0; s < kSets; ++s) {
    errors[s] = ((target - outputs_[s]) * rate_) >> 8;
    const int32_t v = chosen_final_[s] + ((output_logits_[s] * final_error + (1 << 15)) >> 16);
    chosen_final_[s] = std::clamp(v, -kMixWeightMax, kMixWeightMax);
  }
  kernels_.mix_train(inputs_.data(), chosen_, kSets, errors);
  for (int i = 0; i < kRefinements; ++i) {
    // Rounded away from zero on both sides, or a cell would stop short of one.
    const int away = bit ? (1 << kRefineRate) - 1 : 0;
    const int step = ((bit ? 65535 : 0) - refined_[i] + away) >> kRefineRate;
    uint16_t& cell = *refined_cells_[i];
    cell = static_cast<uint16_t>(cell + step);
  }

  c0_ = c0_ * 2 | bit;
  ++bit_;
  if (bit_ < 8) find_refinements();
  if (bit_ == 3) {  // the slots of both nibbles that may come
    for (uint32_t hash : hashes_) {
      __builtin_prefetch(&line_of(slot_hash(hash, 2 * c0_)));
      __builtin_prefetch(&line_of(slot_hash(hash, 2 * c0_ + 1)));
    }
  } else if (bit_ == 4) {
    find_slots();
  }
}

void ContextMixer::end(const uint8_t* symbols, const LanePart& part, int lane, int64_t step,
                       LaneHistory& h) {
  const int64_t at = part.at(lane, step);
  const int c = symbols[at];
  uint16_t& followers = h.followers[h.last8 & 0xff];
  followers = static_cast<uint16_t>(followers << 8 | c);
  h.last8 = h.last8 << 8 | static_cast<uint64_t>(c);
  if (is_word(c)) {
    const int folded = c >= 'A' && c <= 'Z' ? c + 32 : c;
    h.word = (h.word + static_cast<uint32_t>(folded) + 1) * 0x2F0B4C47u;
  } else {
    if (c > ' ') h.marks = h.marks << 8 | static_cast<uint32_t>(c);
    if (h.word) {
      h.word_before = h.previous_word;
      h.previous_word = h.word;
      h.word = 0;
    }
  }
  records_.add(c, h.repeated_gap(c, at));
  h.record = records_.record();
  if (c == '\n') {
    h.previous_line = h.line;
    h.line = at + 1;
    h.aligned = h.previous_line;
  } else if (h.aligned < h.line) {
    if (is_word(c)) {
      if (is_word(symbols[h.aligned])) ++h.aligned;
    } else {
      int64_t to = h.aligned;
      const int64_t stop = std::min(h.line, to + 64);
      while (to < stop && symbols[to] != c) ++to;
      if (to < stop) h.aligned = to + 1;
    }
  }
  if (h.match >= 0) {
    const bool hit = symbols[h.match] == c;
    ++h.match;
    h.misses = h.misses << 1 | !hit;
    h.match_length = hit ? std::min(h.match_length + 1, kMaxMatch) : 0;
    if (__builtin_popcount(h.misses & 0xff) > kMaxMisses) h.match = -1;
  }
  int32_t& entry = matches_[match_hash(h.last8)];
  __builtin_prefetch(&entry);
  // The lines that the lane's next byte wants are far away: ask for them now.
  hash_contexts(symbols, at + 1, h);
  for (uint32_t hash : h.hashes) __builtin_prefetch(&line_of(slot_hash(hash, 1)));
  if ((h.match < 0 || h.match_length < kMinMatch) && entry > 0) {
    find_match(symbols, part, lane, step, entry, h);
  }
  entry = static_cast<int32_t>(at + 1);
}

// Takes the candidate if enough bytes before it equal the lane's last ones. Only bytes of one lane's
// run are compared, which were coded one after the other.
void ContextMixer::find_match(const uint8_t* symbols, const LanePart& part, int lane, int64_t step,
                              int64_t candidate, LaneHistory& h) const {
  const int64_t at = part.at(lane, step), last = candidate - 1;
  const int64_t mine = at - part.at(lane, 0) + 1;
  const int64_t theirs = last < part.begin ? last + 1 : last - part.at(part.lane_of(last), 0) + 1;
  const auto most = static_cast<int>(std::min<int64_t>({mine, theirs, kVerified}));
  int length = 0;
  while (length < most && symbols[last - length] == symbols[at - length]) ++length;
  if (length < kMinMatch) return;
  h.match = candidate;
  h.match_length = length;
  h.misses = 0;
}

}  // namespace nncodec
