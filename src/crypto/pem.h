// PEM (RFC 7468) as values: base64 between BEGIN and END lines. Text around the blocks is ignored,
// as certificate bundles carry comments.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace adit::crypto {

struct PemBlock {
  std::string label;  // "CERTIFICATE", "PRIVATE KEY", ...
  ByteVector der;
};

// An error where a block is broken; no block at all is an empty list. At most kPemBlocksMax blocks.
inline constexpr std::size_t kPemBlocksMax = 4096;
Result<std::vector<PemBlock>> parse_pem(std::string_view text);

std::string to_pem(std::string_view label, Bytes der);

}  // namespace adit::crypto
