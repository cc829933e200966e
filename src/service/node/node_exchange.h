// One request to the node and its answer.
//
//   Reading    the body comes, and is scanned as it does; a wrong key ends it
//   Queued     more requests than the key may make a second
//   Working    the job runs, or what it said is compressed
//   Answering  the answer goes out as the client takes it
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "flow/bulk_queue.h"
#include "flow/http_exchange.h"
#include "io/loop.h"
#include "proto/codec/gunzip.h"
#include "proto/node/reply.h"
#include "proto/node/request.h"
#include "service/node/node.h"
#include "service/node/squeeze.h"

namespace adit::service {

class NodeSite;
struct ReadingBody;

class NodeExchange final : public ListNode<NodeExchange>,
                           public ListNode<ReadingBody>,
                           private flow::HttpExchangeListener,
                           private flow::BulkWork,
                           private SqueezeWork {
 public:
  enum class Route : std::uint8_t { Nothing, Root, Health, Single, Batch };
  // Double slashes, and one at the end, are how some bridges put addresses together.
  static Route route_of(std::string_view target);

  NodeExchange(NodeSite& site, std::unique_ptr<flow::HttpExchange> exchange);
  ~NodeExchange();

  void start();
  // There may be room for the body again.
  void read_later();

 private:
  enum class State : std::uint8_t { Reading, Queued, Working, Answering };
  // What is wrong with a request, as those who have a key are told.
  struct Complaint {
    int status = 200;
    std::string text;
  };

  void on_body() override;
  void on_writable() override { run_later(); }
  void on_gone(const Error& error) override;
  std::size_t run_chunk() override;
  void on_squeezed(std::optional<ByteVector> out) override;
  void on_timer();

  // --- the request ---
  bool take_body(Bytes in);
  bool scan(Bytes in);
  void on_request();
  void parse_single();
  void parse_batch();
  void unpack();
  void work(std::vector<node::Op> ops, Job::Mode mode);
  void complain(Complaint complaint);

  // --- the answer ---
  void on_results(std::vector<node::OpResult> results);
  void decoy();
  void say(int status, std::string_view type, std::string body, http::Fields fields = {});
  void answer_with(node::ReplyWriter reply);
  void respond(int status, std::string_view type, std::uint64_t length, http::Fields fields);
  std::size_t fill();
  void run_later();
  void give_back();
  void end();  // destroys this

  NodeSite& site_;
  io::Loop& loop_;
  std::unique_ptr<flow::HttpExchange> exchange_;
  const Route route_;
  State state_ = State::Reading;
  io::Timer timer_;

  // Reading
  std::size_t counted_ = 0;  // of the budget for bodies
  std::unique_ptr<node::RequestScanner> scanner_;
  std::unique_ptr<codec::Gunzip> gunzip_;
  ByteVector first_;  // of the body, until it tells what it is
  bool sniffed_ = false;
  std::optional<Complaint> complaint_;
  NodeKey* key_ = nullptr;
  std::uint8_t zc_ = 0;
  bool squeeze_ = false;
  std::optional<std::uint8_t> tell_zc_;

  Job* job_ = nullptr;

  // Answering: text, then a reply or what was compressed, then the suffix; through buffer_.
  std::optional<node::ReplyWriter> reply_;
  std::string text_, suffix_;
  ByteVector squeezed_;
  std::size_t squeezed_at_ = 0;
  ByteVector buffer_;
  std::size_t buffer_at_ = 0;
};

}  // namespace adit::service
