#include "io/fd.h"

#include <unistd.h>

namespace adit::io {

void Fd::reset() {
  // Not repeated after EINTR: Linux has released the number by then, another thread may own it.
  if (raw_ >= 0) ::close(std::exchange(raw_, -1));
}

}  // namespace adit::io
