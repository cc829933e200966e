// Base64 (RFC 4648 §4) as the node's clients write and read it.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace adit::node {

// `out` has room for 4 bytes for each 3 of `in`, or part of 3; padded.
void encode_base64(Bytes in, MutableBytes out);

// Strict: padding required, unused bits zero, no white space. Errors say what is wrong and where,
// in the words that clients of the system replaced here may know.
Result<ByteVector> decode_base64(std::string_view text);

}  // namespace adit::node
