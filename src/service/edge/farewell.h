// Last words to a visitor: sends a few bytes, ends the direction, and reads what still comes until
// the peer closes or a short deadline. Closing at once would answer unread bytes with RST, which
// can overtake the alert and destroy it.
#pragma once

#include "base/bytes.h"
#include "base/list.h"
#include "io/loop.h"

namespace adit::service {

class Edge;

class Farewell final : public ListNode<Farewell> {
 public:
  Farewell(Edge& edge, io::Socket socket, const Address& peer);
  ~Farewell();
  void say(Bytes words);

 private:
  void on_receive(const io::Completion& c);
  void on_deadline();

  Edge& edge_;
  io::Socket socket_;
  Address peer_;
  io::Op receive_;
  io::Timer deadline_;
};

}  // namespace adit::service
