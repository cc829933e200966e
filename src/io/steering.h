// Which of several sockets on one UDP address gets a QUIC packet: the one whose index stands in the
// packet's destination connection id. Without it the kernel chooses by addresses, and a link whose
// addresses change (migration, a resumed session) would reach another thread for the rest of its
// life.
#pragma once

#include <cstddef>

namespace adit::io {

// Attaches a classic BPF program (Linux 4.5) to the SO_REUSEPORT group of `fd`: short headers, and
// long ones whose id has `id_bytes`, go to the socket that joined the group as number "first byte
// of the id"; all else, and bytes of `sockets` and above, is hashed as before. Sockets have to be
// bound in the order of their index. Returns 0 or -errno; refused, packets are still passed on
// between threads.
int steer_by_connection_id(int fd, unsigned sockets, std::size_t id_bytes);

}  // namespace adit::io
