// Whether this kernel's io_uring does what UringLoop needs. Private to this room.
#pragma once

#include "base/result.h"

namespace adit::io {

// Once in a process; later calls give the same answer. Asks for the operations, then receives a few
// bytes through a provided buffer and accepts a connection, both multishot on nonblocking
// descriptors: some kernels know the operation but not the variant.
Status probe_uring();

}  // namespace adit::io
