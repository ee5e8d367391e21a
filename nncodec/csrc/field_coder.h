// Tensors cut into fields: exponents and the top of mantissas by interleaved rANS, with a table for the
// rows of each size; the rest of the bits as they are. Fast, where tensor_coder.h is small. Integers only:
// the same bytes on every machine. The readable twin is nncodec/tensors/fields.py; docs/weights-fast.md
// has the reasons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tensor_coder.h"

namespace nncodec {

// The payload of `chunk`, which holds the items one after the other, to where `room` says for its size;
// that is called once. Throws std::invalid_argument if they do not fill it.
void encode_fields(const std::vector<TensorItem>& items, const uint8_t* chunk, std::size_t size,
                   const std::string& isa, const std::function<uint8_t*(std::size_t)>& room);

// How many bytes the items have; throws std::invalid_argument for more than a chunk's.
std::size_t field_bytes(const std::vector<TensorItem>& items);

// Inverse of encode_fields, into field_bytes() bytes. Throws PayloadError for a damaged payload.
void decode_fields(const std::vector<TensorItem>& items, const uint8_t* payload, std::size_t size,
                   uint8_t* chunk, const std::string& isa);

}  // namespace nncodec
