// Runs a fuzz target without a fuzzer: on cases that are kept, and on many mutations of them.
//
//     target ROUNDS FILE...
//
// A file has a case a line, in hex; what follows # is a comment. Mutations come from a fixed seed, so a
// failure is there again the next time; the input of the last one is printed.
#include <csignal>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>

#include "fuzz.h"

namespace {

fuzz::Bytes current;

void print_current(int number) {
  std::fputs("input: ", stderr);
  for (uint8_t byte : current) std::fprintf(stderr, "%02x", byte);
  std::fputs("\n", stderr);
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void run(const fuzz::Bytes& input) {
  current = input;
  // Exactly as long as it is, so that a sanitizer sees a read beyond.
  const std::unique_ptr<uint8_t[]> own(new uint8_t[input.size()]);
  std::copy(input.begin(), input.end(), own.get());
  LLVMFuzzerTestOneInput(own.get(), input.size());
}

fuzz::Bytes from_hex(const std::string& text) {
  if (text.size() % 2 != 0) throw std::invalid_argument("a case of half a byte: " + text);
  fuzz::Bytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<fuzz::Bytes> read_cases(const char* path) {
  std::ifstream file(path);
  if (!file) throw std::invalid_argument(std::string("cannot read ") + path);
  std::vector<fuzz::Bytes> cases;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;) cases.push_back(from_hex(word == "-" ? "" : word));
  }
  return cases;
}

// As fuzzers do: bytes changed, cut out, put in, repeated, or taken from another case.
fuzz::Bytes mutated(fuzz::Bytes input, const fuzz::Bytes& other, std::mt19937& rng) {
  for (unsigned edits = 1 + rng() % 4; edits > 0; --edits) {
    const std::size_t at = input.empty() ? 0 : rng() % input.size();
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (rng() % 6) {
      case 0:
      case 1:
        if (!input.empty()) *place = static_cast<uint8_t>(rng());
        break;
      case 2:
        if (!input.empty()) *place ^= static_cast<uint8_t>(1 << rng() % 8);
        break;
      case 3:
        input.insert(place, 1 + rng() % 40, static_cast<uint8_t>(rng()));
        break;
      case 4:
        input.erase(place, place + std::min<std::ptrdiff_t>(input.end() - place, rng() % 20));
        break;
      default:
        if (!other.empty()) input.insert(input.end(), other.begin(), other.begin() + rng() % std::min<std::size_t>(other.size(), 200));
    }
  }
  if (input.size() > 2000) input.resize(2000);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::puts("usage: target ROUNDS FILE..."), 2;
  std::signal(SIGABRT, print_current);
  std::vector<fuzz::Bytes> cases;
  for (int i = 2; i < argc; ++i) {
    for (fuzz::Bytes& bytes : read_cases(argv[i])) cases.push_back(std::move(bytes));
  }
  const std::size_t kept = cases.size();
  for (const fuzz::Bytes& input : cases) run(input);
  std::mt19937 rng(9);
  const int rounds = std::atoi(argv[1]);
  for (int i = 0; i < rounds; ++i) {
    const fuzz::Bytes& other = cases[rng() % cases.size()];
    run(mutated(cases[rng() % cases.size()], other, rng));
  }
  std::printf("%zu cases and %d mutations hold\n", kept, rounds);
  return 0;
}
