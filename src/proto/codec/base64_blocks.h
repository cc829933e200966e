// Base64 by the processor's vectors, as far as whole vectors go. Internal to base64.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace adit::codec {

// Encodes bytes from the front and says how many, a multiple of 12; 0 where the processor lacks the
// instructions.
std::size_t encode_blocks(Bytes in, char* out);
// Decodes characters from the front and says how many, a multiple of 16; stops before a block with
// anything but symbols. Writes base64_bytes_max(in.size()) bytes at most; `out` may be in.data().
std::size_t decode_blocks(std::string_view in, std::uint8_t* out);

}  // namespace adit::codec
