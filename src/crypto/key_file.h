// An identity on disk. Blocking; for start-up and for reload, not for the data path.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "crypto/key.h"

namespace adit::crypto {

// Reads the PEM key at `path`, or makes one where nothing is there: written to a temporary file
// beside it, synced, then renamed (and the folder synced), so a crash leaves a whole key or none;
// mode 0600, the parent folder (its last part) created with 0700. When two processes race, both
// return the same key: the first one's. A file that others may read, that is not regular, or that
// holds no key is an error which says what to do; nothing is ever overwritten.
Result<PrivateKey> load_or_make_key(const std::filesystem::path& path);

// Reads only: ENOENT where nothing is there. The same checks.
Result<PrivateKey> load_key(const std::filesystem::path& path);

// Writes `text` to a temporary file beside `path`, syncs it, renames it over what was there, and
// syncs the folder: a crash leaves the old file or the new one. Mode 0600; the parent folder (its
// last part) is made with 0700.
Status replace_file(const std::filesystem::path& path, std::string_view text);

// A whole file; EFBIG beyond `bytes_max`.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max);

}  // namespace adit::crypto
