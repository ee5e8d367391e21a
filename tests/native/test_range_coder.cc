// Random round trips and garbage through the C++ core, built with the address and undefined-
// behaviour sanitizers by tests/test_native.py. Prints what it did; aborts on the first surprise.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "range_coder.h"
#include "xxh64.h"

namespace {

using nncodec::kCountTotal;
using nncodec::kSymbols;
using Row = std::vector<int32_t>;

std::mt19937_64 rng(20240601);

uint64_t below(uint64_t limit) { return rng() % limit; }

void check(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "failed: %s\n", what);
    std::exit(1);
  }
}

// A valid row: now and then one symbol has nearly everything, else random cuts of the total.
Row random_row() {
  Row row(kSymbols, 1);
  if (below(4) == 0) {
    row[below(2) ? below(kSymbols) : 255 * below(2)] += static_cast<int32_t>(kCountTotal) - 256;
    return row;
  }
  std::vector<uint32_t> cuts(kSymbols - 1);
  for (uint32_t& cut : cuts) cut = static_cast<uint32_t>(below(kCountTotal - 255));
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(kCountTotal - 256);
  uint32_t last = 0;
  for (int i = 0; i < kSymbols; ++i) {
    const uint32_t cut = std::min(cuts[i], kCountTotal - 256);
    row[i] += static_cast<int32_t>(cut - last);
    last = cut;
  }
  return row;
}

uint8_t random_symbol(const Row& row) {
  if (below(3) == 0) return static_cast<uint8_t>(below(2) ? below(kSymbols) : 255 * below(2));
  uint32_t target = static_cast<uint32_t>(below(kCountTotal));
  int symbol = 0;
  while (target >= static_cast<uint32_t>(row[symbol])) target -= row[symbol++];
  return static_cast<uint8_t>(symbol);
}

struct Message {
  std::vector<Row> rows;
  std::vector<uint8_t> symbols;
};

Message random_message() {
  Message message;
  for (uint64_t left = below(80); left > 0; --left) {
    message.rows.push_back(random_row());
    message.symbols.push_back(random_symbol(message.rows.back()));
  }
  return message;
}

std::vector<uint8_t> encode(const Message& message) {
  nncodec::RangeEncoder encoder;
  for (std::size_t i = 0; i < message.rows.size(); ++i) {
    encoder.encode(message.rows[i].data(), message.symbols[i]);
  }
  return encoder.finish();
}

void round_trip() {
  const Message message = random_message();
  const std::vector<uint8_t> payload = encode(message);
  nncodec::RangeDecoder decoder(payload.data(), payload.size());
  for (std::size_t i = 0; i < message.rows.size(); ++i) {
    check(decoder.decode(message.rows[i].data()) == message.symbols[i], "symbol comes back");
  }
  decoder.finish();
}

// Whatever the payload holds, the decoder gives symbols or a PayloadError, and reads in bounds.
int garbage() {
  const Message message = random_message();
  std::vector<uint8_t> payload = encode(message);
  if (below(2)) {
    payload.resize(below(payload.size() + 1));
  } else {
    for (uint64_t i = below(4); i > 0; --i) payload[below(payload.size())] ^= 1u << below(8);
  }
  payload.shrink_to_fit();  // so that one byte too far is seen
  try {
    nncodec::RangeDecoder decoder(payload.data(), payload.size());
    for (const Row& row : message.rows) decoder.decode(row.data());
    decoder.finish();
  } catch (const nncodec::PayloadError&) {
    return 1;
  }
  return 0;
}

// Bits, the most extreme ones among them, and between them now and then a symbol.
void bits() {
  struct Bit {
    uint32_t ones;
    int bit;
  };
  std::vector<Bit> bits(below(200));
  const Row row = random_row();
  nncodec::RangeEncoder encoder;
  for (Bit& b : bits) {
    b.ones = static_cast<uint32_t>(below(4) ? 1 + below(kCountTotal - 1)
                                            : below(2) ? 1 : kCountTotal - 1);
    b.bit = static_cast<int>(below(2));
    encoder.encode_bit(b.ones, b.bit);
    if (b.ones % 7 == 0) encoder.encode(row.data(), static_cast<uint8_t>(b.ones));
  }
  const std::vector<uint8_t> payload = encoder.finish();
  nncodec::RangeDecoder decoder(payload.data(), payload.size());
  for (const Bit& b : bits) {
    check(decoder.decode_bit(b.ones) == b.bit, "bit comes back");
    if (b.ones % 7 == 0) {
      check(decoder.decode(row.data()) == static_cast<uint8_t>(b.ones), "symbol between bits");
    }
  }
  decoder.finish();
}

// n counts of 2^32: cuts anywhere, or nearly all of it on one symbol.
std::vector<uint32_t> random_wide_row(std::size_t n) {
  std::vector<uint32_t> row(n, 1);
  uint64_t left = (uint64_t{1} << 32) - n;
  const bool spiky = below(3) == 0;
  for (std::size_t i = 0; i + 1 < n && !spiky; ++i) {
    const uint64_t part = below(left / 2 + 1);
    row[i] += static_cast<uint32_t>(part);
    left -= part;
  }
  row[below(n)] += static_cast<uint32_t>(left);
  return row;
}

// Rows of tokens, with bits between; damage only throws.
void wide_rows() {
  std::vector<std::vector<uint32_t>> rows;
  std::vector<std::size_t> symbols;
  nncodec::RangeEncoder encoder;
  for (uint64_t left = below(60); left > 0; --left) {
    rows.push_back(random_wide_row(2 + below(300)));
    const std::size_t n = rows.back().size();
    symbols.push_back(below(2) ? below(n) : (n - 1) * below(2));
    encoder.encode_wide(rows.back().data(), n, symbols.back());
    encoder.encode_bit(9, static_cast<int>(left % 2));
  }
  std::vector<uint8_t> payload = encoder.finish();
  nncodec::RangeDecoder decoder(payload.data(), payload.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    check(decoder.decode_wide(rows[i].data(), rows[i].size()) == symbols[i], "token comes back");
    check(decoder.decode_bit(9) == static_cast<int>((rows.size() - i) % 2), "bit between tokens");
  }
  decoder.finish();
  payload[below(payload.size())] ^= 1u << below(8);
  payload.shrink_to_fit();
  try {
    nncodec::RangeDecoder damaged(payload.data(), payload.size());
    for (const std::vector<uint32_t>& row : rows) {
      check(damaged.decode_wide(row.data(), row.size()) < row.size(), "a symbol of the row");
      damaged.decode_bit(9);
    }
  } catch (const nncodec::PayloadError&) {
  }
  for (const std::vector<uint32_t>& bad : {std::vector<uint32_t>{5, 6}, {0, 1u << 31, 1u << 31}}) {
    try {
      nncodec::RangeEncoder().encode_wide(bad.data(), bad.size(), 0);
      check(false, "bad counts of tokens are rejected");
    } catch (const std::invalid_argument&) {
    }
  }
}

void bad_rows() {
  Row row = random_row();
  const std::size_t at = below(kSymbols), other = (at + 1) % kSymbols;
  switch (below(4)) {
    case 0: row[other] += row[at]; row[at] = 0; break;
    case 1: row[at] = INT32_MIN; break;
    case 2: row[at] = INT32_MAX; break;
    default: row[at] += 1; break;
  }
  const uint8_t zeros[8] = {};
  int caught = 0;
  try {
    nncodec::RangeEncoder().encode(row.data(), 255);
  } catch (const std::invalid_argument&) {
    ++caught;
  }
  try {
    nncodec::RangeDecoder(zeros, sizeof zeros).decode(row.data());
  } catch (const std::invalid_argument&) {
    ++caught;
  }
  check(caught == 2, "bad counts are rejected");
}

void checksum() {
  std::vector<uint8_t> data(below(100));
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(rng());
  data.shrink_to_fit();
  const uint64_t hash = nncodec::xxh64(data.data(), data.size(), rng());
  std::vector<uint8_t> shifted(data.size() + 1);
  std::copy(data.begin(), data.end(), shifted.begin() + 1);
  const uint64_t seed = rng();
  check(nncodec::xxh64(data.data(), data.size(), seed) ==
            nncodec::xxh64(shifted.data() + 1, data.size(), seed),
        "alignment does not matter");
  check(hash != 0, "a hash of zero is as good as impossible");
}

}  // namespace

int main() {
  int rejected = 0;
  for (int i = 0; i < 3000; ++i) {
    round_trip();
    rejected += garbage();
    bits();
    wide_rows();
    bad_rows();
    checksum();
  }
  const std::vector<uint8_t> empty = nncodec::RangeEncoder().finish();
  check(empty.size() == 1 && empty[0] == 0, "an empty message is one zero");
  std::printf("3000 rounds, %d payloads rejected\n", rejected);
  return rejected > 100 ? 0 : 1;
}
