// Python's view of the core. Shapes and dtypes are checked here, once, by the argument types.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>
#include <vector>

#include "range_coder.h"
#include "xxh64.h"

namespace nb = nanobind;
using nncodec::kSymbols;

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<const int32_t, nb::shape<-1, kSymbols>, nb::c_contig, nb::device::cpu>;

namespace {

void encode(nncodec::RangeEncoder& self, const Counts& counts, const Bytes& symbols) {
  if (counts.shape(0) != symbols.shape(0)) {
    throw std::invalid_argument("counts and symbols differ in length");
  }
  nb::gil_scoped_release unlocked;
  for (std::size_t i = 0; i < symbols.shape(0); ++i) {
    self.encode(counts.data() + i * kSymbols, symbols.data()[i]);
  }
}

nb::bytes finish(nncodec::RangeEncoder& self) {
  const std::vector<uint8_t> out = self.finish();
  return nb::bytes(out.data(), out.size());
}

nb::bytes decode(nncodec::RangeDecoder& self, const Counts& counts) {
  std::vector<char> symbols(counts.shape(0));
  {
    nb::gil_scoped_release unlocked;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      symbols[i] = static_cast<char>(self.decode(counts.data() + i * kSymbols));
    }
  }
  return nb::bytes(symbols.data(), symbols.size());
}

}  // namespace

NB_MODULE(_core, m) {
  nb::exception<nncodec::PayloadError>(m, "PayloadError", PyExc_ValueError);

  nb::class_<nncodec::RangeEncoder>(m, "RangeEncoder")
      .def(nb::init<>())
      .def("encode", &encode, nb::arg("counts"), nb::arg("symbols"))
      .def("finish", &finish);

  nb::class_<nncodec::RangeDecoder>(m, "RangeDecoder")
      .def(
          "__init__",
          [](nncodec::RangeDecoder* self, const Bytes& payload) {
            new (self) nncodec::RangeDecoder(payload.data(), payload.size());
          },
          nb::arg("payload"))
      .def("decode", &decode, nb::arg("counts"))
      .def("finish", &nncodec::RangeDecoder::finish);

  m.def(
      "xxh64",
      [](const Bytes& data, uint64_t seed) {
        nb::gil_scoped_release unlocked;
        return nncodec::xxh64(data.data(), data.size(), seed);
      },
      nb::arg("data"), nb::arg("seed") = 0);
}
