#include "app/version.h"

#ifndef ADIT_VERSION
#define ADIT_VERSION "0.0.0"
#endif
#ifndef ADIT_COMMIT
#define ADIT_COMMIT "unknown"
#endif

namespace adit::app {

std::string_view version() { return ADIT_VERSION; }
std::string_view commit() { return ADIT_COMMIT; }

std::string version_line() {
  return "adit " + std::string(version()) + " (" + std::string(commit()) + ")";
}

}  // namespace adit::app
