#include "proto/codec/zstd.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/limits.h"

namespace adit::codec {

namespace {

struct Free {
  void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
};

Error to_error(std::size_t code) {
  const int number = ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation ? ENOMEM : EBADMSG;
  return Error{number, std::string("zstd: ") + ZSTD_getErrorName(code)};
}

}  // namespace

struct ZstdDecoder::State {
  std::unique_ptr<ZSTD_DCtx, Free> context{ZSTD_createDCtx()};
};

ZstdDecoder::ZstdDecoder() : state_(std::make_unique<State>()) {
  if (state_->context)
    ZSTD_DCtx_setParameter(state_->context.get(), ZSTD_d_windowLogMax, limits::kZstdWindowLogMax);
}

ZstdDecoder::~ZstdDecoder() = default;
ZstdDecoder::ZstdDecoder(ZstdDecoder&&) noexcept = default;
ZstdDecoder& ZstdDecoder::operator=(ZstdDecoder&&) noexcept = default;

Status ZstdDecoder::decode(Bytes in, std::size_t output_max, ByteVector& out) {
  ZSTD_DCtx* context = state_->context.get();
  if (context == nullptr) return Error{ENOMEM, "zstd: no memory"};
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  const std::size_t start = out.size();
  const auto fail = [&out, start](Error error) {
    out.resize(start);
    return error;
  };
  ZSTD_inBuffer from{in.data(), in.size(), 0};
  std::size_t left = output_max, hint = 1;  // hint 0: a frame is complete
  // Ends: each round takes input or fills the step that it was given.
  for (bool full = false; from.pos < from.size || (full && hint != 0);) {
    const std::size_t room = std::min(limits::kCodecStepBytes, left + 1);
    const std::size_t before = out.size();
    out.resize(before + room);
    ZSTD_outBuffer to{out.data() + before, room, 0};
    hint = ZSTD_decompressStream(context, &to, &from);
    if (ZSTD_isError(hint) != 0) return fail(to_error(hint));
    if (to.pos > left) return fail(Error{EMSGSIZE, "zstd: too much comes out of it"});
    out.resize(before + to.pos);
    left -= to.pos;
    full = to.pos == room;
  }
  if (hint != 0) return fail(Error{EBADMSG, "zstd: cut off"});
  return {};
}

struct ZstdEncoder::State {
  std::unique_ptr<ZSTD_CCtx, Free> context{ZSTD_createCCtx()};
  ByteVector step = ByteVector(limits::kCodecStepBytes);  // what comes out at a time

  Status run(Bytes in, ZSTD_EndDirective how, ByteVector& out) {
    if (!context) return Error{ENOMEM, "zstd: no memory"};
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    for (;;) {
      ZSTD_outBuffer to{step.data(), step.size(), 0};
      const std::size_t left = ZSTD_compressStream2(context.get(), &to, &from, how);
      out.insert(out.end(), step.begin(), step.begin() + static_cast<std::ptrdiff_t>(to.pos));
      if (ZSTD_isError(left) != 0) {
        Error error = to_error(left);
        if (ZSTD_getErrorCode(left) == ZSTD_error_srcSize_wrong) error.code = EINVAL;
        return error;
      }
      if (how == ZSTD_e_end ? left == 0 : from.pos == from.size) return {};
    }
  }
};

ZstdEncoder::ZstdEncoder(int level) : state_(std::make_unique<State>()) {
  if (state_->context)
    ZSTD_CCtx_setParameter(state_->context.get(), ZSTD_c_compressionLevel, level);
}

ZstdEncoder::~ZstdEncoder() = default;
ZstdEncoder::ZstdEncoder(ZstdEncoder&&) noexcept = default;
ZstdEncoder& ZstdEncoder::operator=(ZstdEncoder&&) noexcept = default;

void ZstdEncoder::begin(std::optional<std::size_t> total) {
  if (!state_->context) return;
  ZSTD_CCtx_reset(state_->context.get(), ZSTD_reset_session_only);
  ZSTD_CCtx_setPledgedSrcSize(state_->context.get(),
                              total ? *total : ZSTD_CONTENTSIZE_UNKNOWN);
}

Status ZstdEncoder::write(Bytes in, ByteVector& out) {
  return state_->run(in, ZSTD_e_continue, out);
}

Status ZstdEncoder::finish(ByteVector& out) { return state_->run({}, ZSTD_e_end, out); }

Status ZstdEncoder::encode(Bytes in, ByteVector& out) {
  begin(in.size());
  return state_->run(in, ZSTD_e_end, out);
}

}  // namespace adit::codec
