#include "proto/http/response_reader.h"

#include <cerrno>

#include "base/limits_acme.h"

namespace adit::http {

namespace {
using Step = http1::MessageReader::Step;

Error malformed(std::string_view what) {
  return Error{EPROTO, "not a response of HTTP/1.1: " + std::string(what)};
}
}  // namespace

ResponseReader::ResponseReader(bool to_head)
    : to_head_(to_head),
      reader_(http1::MessageReader::Kind::Response, limits::kHttpAnswerHeadBytesMax) {
  if (to_head) reader_.answers_head();
}

Result<ResponseReader::Need> ResponseReader::feed(Bytes in) {
  while (!done_) {
    const Step step = reader_.read(in);
    if (step == Step::Malformed) return malformed(reader_.fault());
    if (step == Step::TooLong) return malformed("a head over 32 KiB");
    in = in.subspan(reader_.used());
    if (step == Step::More) break;
    if (step == Step::Head) {
      if (Status ok = on_head(); !ok) return std::move(ok).error();
    } else if (step == Step::Body) {
      const Bytes body = reader_.body();
      if (response_.body.size() + body.size() > limits::kHttpBodyBytesMax)
        return malformed("a body over 1 MiB");
      response_.body += as_text(body);
    } else if (response_.status == 0) {
      reader_.next();  // behind an interim response
      if (to_head_) reader_.answers_head();
    } else {
      done_ = true;
    }
  }
  return done_ ? Need::Done : Need::More;
}

Status ResponseReader::on_head() {
  http1::Head head = reader_.take_head();
  // RFC 9110 §15.2: interim; the final one follows. 101 was never asked for.
  if (head.status == 101) return malformed("it switches protocols");
  if (head.status < 200) return {};
  if (reader_.length().value_or(0) > limits::kHttpBodyBytesMax && !to_head_)
    return malformed("a body over 1 MiB");
  response_.status = head.status;
  for (http1::Field& f : head.fields)
    response_.fields.emplace_back(std::move(f.name), std::move(f.value));
  return {};
}

Result<ResponseReader::Need> ResponseReader::end() {
  if (!done_ && reader_.end() == Step::End) done_ = true;
  if (done_) return Need::Done;
  return Error{ECONNRESET, "the server ended the connection amid its answer"};
}

}  // namespace adit::http
