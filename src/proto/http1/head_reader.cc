#include "proto/http1/head_reader.h"

namespace adit::http1 {

HeadReader::Verdict HeadReader::feed(Bytes in) {
  using Step = MessageReader::Step;
  switch (reader_.read(in)) {
    case Step::Head: rest_ = in.subspan(reader_.used()); return Verdict::Done;
    case Step::Malformed: return Verdict::Malformed;
    case Step::TooLong: return Verdict::TooLong;
    case Step::More:
    case Step::Body:
    case Step::End: break;  // no body comes before its head
  }
  return Verdict::More;
}

}  // namespace adit::http1
