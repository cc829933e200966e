#include "io/stream_pair.h"

#include <sys/socket.h>

#include <cerrno>

namespace adit::io {

Result<std::pair<Socket, Socket>> stream_pair(Loop& loop) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
    return errno_error(errno, "socketpair");
  return std::pair(loop.adopt(fds[0]), loop.adopt(fds[1]));
}

}  // namespace adit::io
