#include "io/steering.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <cerrno>

namespace adit::io {

int steer_by_connection_id(int fd, unsigned sockets, std::size_t id_bytes) {
  // Offsets are into the UDP payload (RFC 9000 §17): a long header has flags, version, the id's
  // length and the id; a short one has flags and the id. A packet too short for a load ends the
  // program with 0: the first socket, where it is dropped.
  constexpr unsigned kNobody = 0xffffffff;  // no such socket: the kernel hashes
  const auto length = static_cast<unsigned>(id_bytes);
  // Jump offsets count from the next instruction.
  sock_filter code[] = {
      /* 0 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      /* 1 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 2, 0),   // long: 4
      /* 2 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
      /* 3 */ BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0),                // 7
      /* 4 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 5),
      /* 5 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, length, 0, 2),  // another length: 8
      /* 6 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
      /* 7 */ BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, sockets, 0, 1),  // a socket's number: 9
      /* 8 */ BPF_STMT(BPF_RET | BPF_K, kNobody),
      /* 9 */ BPF_STMT(BPF_RET | BPF_A, 0),
  };
  const sock_fprog program{sizeof code / sizeof code[0], code};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
    return -errno;
  return 0;
}

}  // namespace adit::io
