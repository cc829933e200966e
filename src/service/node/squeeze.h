// Replies compressed one after another with the thread's one encoder, a bounded piece a turn.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/list.h"
#include "flow/bulk_queue.h"
#include "proto/codec/zstd.h"
#include "proto/node/reply.h"

namespace adit::service {

// One reply that is to be compressed; destroying it takes it back.
class SqueezeWork : public ListNode<SqueezeWork> {
 public:
  // Once. nullopt: it could not be compressed, and `writer` is lost.
  virtual void on_squeezed(std::optional<ByteVector> out) = 0;

  std::optional<node::ReplyWriter> writer;  // of the form Array; set before it is added

 protected:
  ~SqueezeWork() = default;

 private:
  friend class Squeeze;
  bool begun_ = false;
};

class Squeeze final : private flow::BulkWork {
 public:
  explicit Squeeze(flow::BulkQueue& bulk) : bulk_(bulk) {}
  void add(SqueezeWork& work);

 private:
  std::size_t run_chunk() override;

  flow::BulkQueue& bulk_;
  codec::ZstdEncoder encoder_;
  List<SqueezeWork, SqueezeWork> works_;  // the first is under way
  ByteVector out_;
};

}  // namespace adit::service
