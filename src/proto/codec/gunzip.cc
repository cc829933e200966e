#include "proto/codec/gunzip.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/limits.h"

namespace adit::codec {

namespace {
constexpr std::size_t kStepBytesMin = 1024;
}  // namespace

struct Gunzip::State {
  ~State() {
    if (ready) inflateEnd(&stream);
  }

  z_stream stream{};
  bool ready = false, done = false, failed = false;
  std::size_t output_left = 0;
};

Gunzip::Gunzip(std::size_t output_max) : state_(std::make_unique<State>()) {
  state_->output_left = output_max;
  constexpr int kGzipOnly = 16;  // zlib.h: added to the window's size
  state_->ready = inflateInit2(&state_->stream, MAX_WBITS + kGzipOnly) == Z_OK;
}

Gunzip::~Gunzip() = default;
Gunzip::Gunzip(Gunzip&&) noexcept = default;
Gunzip& Gunzip::operator=(Gunzip&&) noexcept = default;

bool Gunzip::done() const { return state_->done; }

Status Gunzip::feed(Bytes in, ByteVector& out) {
  State& s = *state_;
  if (!s.ready) return Error{ENOMEM, "gzip: no memory"};
  if (s.failed) return Error{EBADMSG, "gzip: damaged"};
  while (!s.done) {
    const std::size_t piece = std::min<std::size_t>(in.size(), std::numeric_limits<uInt>::max());
    // One byte beyond the bound tells "all of it" from "more".
    const std::size_t likely = std::clamp(4 * in.size(), kStepBytesMin, limits::kCodecStepBytes);
    const std::size_t room = std::min(likely, s.output_left + 1);
    const std::size_t before = out.size();
    out.resize(before + room);
    s.stream.next_in = const_cast<Bytef*>(in.data());  // zlib's old signature; it only reads
    s.stream.avail_in = static_cast<uInt>(piece);
    s.stream.next_out = out.data() + before;
    s.stream.avail_out = static_cast<uInt>(room);
    const int code = inflate(&s.stream, Z_NO_FLUSH);
    const std::size_t wrote = room - s.stream.avail_out;
    out.resize(before + std::min(wrote, s.output_left));
    in = in.subspan(piece - s.stream.avail_in);
    if (wrote > s.output_left) {
      s.failed = true;
      return Error{EMSGSIZE, "gzip: too much comes out of it"};
    }
    s.output_left -= wrote;
    if (code == Z_STREAM_END) {
      s.done = true;
    } else if (code == Z_BUF_ERROR || (code == Z_OK && in.empty() && wrote < room)) {
      break;  // all that there is
    } else if (code != Z_OK) {
      s.failed = true;
      return code == Z_MEM_ERROR ? Error{ENOMEM, "gzip: no memory"}
                                 : Error{EBADMSG, "gzip: damaged"};
    }
  }
  return {};
}

}  // namespace adit::codec
