// The operator's window into a running program: HTTP/1.1 on a Unix socket (status, metrics,
// reload), and the metrics alone on a TCP address where one is configured. One request per
// connection.
//
//   GET /status, /agents, /explain/NAME (JSON; text behind .txt: /agents.txt), /metrics
//   POST /reload, /reload/dry-run, /agents/kick/ID
//
// On the TCP address there is only /metrics.
#pragma once

#include <memory>
#include <string>

#include "base/limits.h"
#include "base/log.h"
#include "io/loop.h"
#include "io/unix_socket.h"
#include "service/admin/admin_source.h"
#include "service/edge/owned_list.h"

namespace adit::service {

class AdminConversation;

struct AdminLimits {
  std::size_t connections = limits::kAdminConnectionsMax;  // per listener
  Duration head_deadline = limits::kAdminHeadDeadline;
  Duration answer_deadline = limits::kAdminAnswerDeadline;
};

enum class AdminDoor : std::uint8_t {
  Operator,  // everything; whoever may open the socket's file is the operator
  Metrics,   // GET /metrics only
};

// One listener and its conversations. When it is full, the oldest that has had its answer makes
// room, or the oldest that has not said yet what it wants; while all are being answered, newcomers
// are refused.
class AdminListener {
 public:
  AdminListener(io::Loop& loop, Log& log, AdminSource& source, const AdminLimits& limits,
                AdminDoor door, io::Socket socket);
  ~AdminListener();

  const io::Socket& socket() const { return socket_; }

 private:
  friend class AdminConversation;
  void start() { loop_.accept(accept_, socket_); }
  void on_accepted(const io::Completion& c);
  void admit(io::Socket socket);

  io::Loop& loop_;
  Log& log_;
  AdminSource& source_;
  const AdminLimits limits_;
  const AdminDoor door_;
  io::Socket socket_;
  io::Op accept_;
  io::Timer pause_;
  LogRateLimit once_;
  OwnedList<AdminConversation> reading_, answering_, leaving_;
};

class AdminServer {
 public:
  // `source` outlives this object.
  AdminServer(io::Loop& loop, Log& log, AdminSource& source, const AdminLimits& limits = {});
  ~AdminServer();

  // Each at most once. The file at `path` is removed with this object.
  Status listen_operator(const std::string& path);
  Status listen_metrics(const Address& at);
  // As bound; any address where there is none.
  Address metrics_address() const;

 private:
  void add(std::unique_ptr<AdminListener>& slot, AdminDoor door, io::Socket socket);

  io::Loop& loop_;
  Log& log_;
  AdminSource& source_;
  const AdminLimits limits_;
  std::unique_ptr<AdminListener> operator_, metrics_;
  io::SocketFile file_;  // goes before the listener, whose socket keeps its inode's number
};

}  // namespace adit::service
