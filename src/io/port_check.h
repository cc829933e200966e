// Whether a port is free of other programs. SO_REUSEPORT, which our threads share a port by, would
// let a second relay of the same user share it too, and visitors would be dealt out between the
// two.
#pragma once

#include "base/address.h"
#include "base/result.h"

namespace adit::io {

enum class PortKind { Tcp, Udp };

// Binds the address alone, for a moment, and lets it go. EADDRINUSE when somebody has it; tried
// again for up to two seconds first, since the sockets of a program that was killed live on until
// the kernel has dropped its io_uring. Blocking: for start-up, before the first loop runs.
Status check_port_free(const Address& at, PortKind kind);

// Whether the kernel, or the container's, makes sockets of IPv6 (ipv6.disable=1 takes them away).
bool has_ipv6();

}  // namespace adit::io
