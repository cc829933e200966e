// Which adit this is; set by the build (ADIT_VERSION, ADIT_COMMIT).
#pragma once

#include <string>
#include <string_view>

namespace adit::app {

std::string_view version();  // "0.1.0"
std::string_view commit();   // 12 hexadecimal digits, or "unknown"
std::string version_line();  // "adit 0.1.0 (0123456789ab)"

}  // namespace adit::app
