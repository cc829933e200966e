// One client of an admin listener: reads one request, has it answered, and leaves. States, and what
// is in flight besides receive_ and the deadline:
//
//   Reading   the head comes                            -
//   Asking    the source makes the page                 question_
//   Sending   what the socket has not taken yet         writable_
//   Leaving   all is sent; what still comes is dropped  -
//             until the client closes
//
// Closing instead of leaving would answer unread bytes with a reset, which can destroy the answer
// on its way.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/list.h"
#include "service/admin/admin_server.h"
#include "service/admin/admin_source.h"
#include "service/admin/request_head.h"

namespace adit::service {

class AdminConversation final : public ListNode<AdminConversation> {
 public:
  AdminConversation(AdminListener& listener, io::Socket socket);
  void start();

  // Says 503 and closes, without a conversation.
  static void refuse_busy(io::Loop& loop, io::Socket socket);

 private:
  enum class State : std::uint8_t { Reading, Asking, Sending, Leaving };
  struct Reply {
    int code = 200;
    std::string body;
    std::string_view type = "text/plain; charset=utf-8";
    std::string_view allow = {};  // of a 405
  };
  static std::string text_of(const Reply& reply, bool with_body);

  void on_receive(const io::Completion& c);
  void on_head(Bytes in);
  void on_request();
  void ask(AdminPage page, std::string argument);
  void on_answer(std::string body);
  void reload(bool dry_run);
  void refuse_reading();
  void reply(Reply reply);
  void on_writable(const io::Completion& c);
  void flush();
  void on_deadline();
  OwnedList<AdminConversation>& list();
  void enter(State state);
  void end();  // destroys this

  AdminListener& listener_;
  io::Loop& loop_;
  io::Socket socket_;
  io::Op receive_;
  io::Op writable_;
  io::Timer deadline_;
  State state_ = State::Reading;
  RequestHead head_;
  std::optional<AdminQuestion> question_;
  std::string out_;
  std::size_t sent_ = 0;
  std::size_t dropped_bytes_ = 0;
};

}  // namespace adit::service
