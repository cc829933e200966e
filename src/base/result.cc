#include "base/result.h"

#include <system_error>

namespace adit {

Error errno_error(int code, std::string_view call) {
  return Error{code, std::string(call) + ": " + std::generic_category().message(code)};
}

}  // namespace adit
