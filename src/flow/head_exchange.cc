#include "flow/head_exchange.h"

#include <cerrno>

namespace adit::flow {

HeadExchange::HeadExchange(io::Loop& loop, std::unique_ptr<Duplex> stream,
                           http1::HeadReader::Kind kind, std::string text, Instant deadline,
                           Done done)
    : loop_(loop),
      stream_(std::move(stream)),
      reader_(kind),
      text_(std::move(text)),
      done_(done),
      deadline_(loop, Delegate<void()>::to<&HeadExchange::on_deadline>(this)),
      task_(Delegate<void()>::to<&HeadExchange::run>(this)) {
  stream_->set_listener(this);
  stream_->start();
  deadline_.set(deadline);
  loop_.run_later(task_);
}

HeadExchange::~HeadExchange() {
  if (stream_ != nullptr) stream_->set_listener(nullptr);
}

std::unique_ptr<Duplex> HeadExchange::take() {
  stream_->set_listener(nullptr);
  return std::move(stream_);
}

void HeadExchange::run() {
  write();
  read();  // may destroy this
}

void HeadExchange::write() {
  if (sent_ == text_.size() || said_) return;
  sent_ += stream_->write(as_bytes(text_).subspan(sent_));
}

void HeadExchange::read() {
  while (!said_) {
    const Bytes bytes = stream_->readable();
    if (bytes.empty()) {
      if (stream_->at_end()) finish(Error{ECONNRESET, "the connection ended within the HTTP head"});
      return;
    }
    const auto verdict = reader_.feed(bytes);
    stream_->consume(bytes.size() - reader_.rest().size());
    switch (verdict) {
      case http1::HeadReader::Verdict::More: continue;
      case http1::HeadReader::Verdict::Done: return finish(reader_.head());
      case http1::HeadReader::Verdict::Malformed:
        return finish(Error{EPROTO, "not an HTTP head: " + reader_.fault()});
      case http1::HeadReader::Verdict::TooLong:
        return finish(Error{EMSGSIZE, "the HTTP head is too long"});
    }
  }
}

void HeadExchange::finish(Result<http1::Head> result) {
  if (std::exchange(said_, true)) return;
  deadline_.stop();
  done_(std::move(result));
}

}  // namespace adit::flow
