#include "proto/codec/base64_blocks.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>

#include <array>
#endif

namespace adit::codec {

#if defined(__x86_64__)

namespace {

// SSSE3 came in 2006; amd64 itself promises SSE2 only.
bool has_shuffle() {
  static const bool has = __builtin_cpu_supports("ssse3") != 0;
  return has;
}

// 12 bytes, in the low end, to 16 symbols.
__attribute__((target("ssse3"))) __m128i encode_block(__m128i in) {
  // Each group of three bytes a b c is laid out as b a c b, so that 16-bit multiplications shift
  // its four 6-bit values into four bytes: a>>2 and c&63 by the first, the two between by the
  // second.
  const __m128i groups =
      _mm_shuffle_epi8(in, _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
  const __m128i even = _mm_mulhi_epu16(_mm_and_si128(groups, _mm_set1_epi32(0x0fc0fc00)),
                                       _mm_set1_epi32(0x04000040));
  const __m128i odd = _mm_mullo_epi16(_mm_and_si128(groups, _mm_set1_epi32(0x003f03f0)),
                                      _mm_set1_epi32(0x01000010));
  const __m128i values = _mm_or_si128(even, odd);
  // What to add to a value: 0..25 'A'; 26..51 'a'-26; 52..61 '0'-52; 62 '+'-62; 63 '/'-63. The
  // index into that: 13 for 0..25, 0 for 26..51, value-51 above.
  const __m128i above = _mm_subs_epu8(values, _mm_set1_epi8(51));
  const __m128i capital = _mm_and_si128(_mm_cmplt_epi8(values, _mm_set1_epi8(26)),
                                        _mm_set1_epi8(13));
  const __m128i add = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                    '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62,
                                    '/' - 63, 'A', 0, 0);
  return _mm_add_epi8(values, _mm_shuffle_epi8(add, _mm_or_si128(above, capital)));
}

__attribute__((target("ssse3"))) std::size_t encode_ssse3(Bytes in, char* out) {
  std::size_t at = 0;
  for (; in.size() - at >= 16; at += 12, out += 16) {  // loads 16, uses 12
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in.data() + at));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), encode_block(bytes));
  }
  return at;
}

// Bytes within [first, last], signed compare: characters beyond ASCII are below all of it.
__attribute__((target("ssse3"))) __m128i within(__m128i in, char first, char last) {
  return _mm_and_si128(_mm_cmpgt_epi8(in, _mm_set1_epi8(static_cast<char>(first - 1))),
                       _mm_cmplt_epi8(in, _mm_set1_epi8(static_cast<char>(last + 1))));
}

// 16 symbols to values; false if there is something else among them.
__attribute__((target("ssse3"))) bool values_of(__m128i in, __m128i& values) {
  const __m128i capital = within(in, 'A', 'Z'), small = within(in, 'a', 'z');
  const __m128i digit = within(in, '0', '9');
  const __m128i plus = _mm_cmpeq_epi8(in, _mm_set1_epi8('+'));
  const __m128i slash = _mm_cmpeq_epi8(in, _mm_set1_epi8('/'));
  const __m128i letters = _mm_or_si128(capital, small);
  const __m128i others = _mm_or_si128(digit, _mm_or_si128(plus, slash));
  if (_mm_movemask_epi8(_mm_or_si128(letters, others)) != 0xffff) return false;
  __m128i add = _mm_and_si128(capital, _mm_set1_epi8(-'A'));
  add = _mm_or_si128(add, _mm_and_si128(small, _mm_set1_epi8(26 - 'a')));
  add = _mm_or_si128(add, _mm_and_si128(digit, _mm_set1_epi8(52 - '0')));
  add = _mm_or_si128(add, _mm_and_si128(plus, _mm_set1_epi8(62 - '+')));
  add = _mm_or_si128(add, _mm_and_si128(slash, _mm_set1_epi8(63 - '/')));
  values = _mm_add_epi8(in, add);
  return true;
}

__attribute__((target("ssse3"))) std::size_t decode_ssse3(std::string_view in, std::uint8_t* out) {
  std::size_t at = 0;
  // Stores 16 bytes for 12: behind them must be room for 4 more, which 8 characters that are left
  // have even if they end with padding. In place, a store ends where the next load begins.
  for (; in.size() - at >= 24; at += 16, out += 12) {
    __m128i values;
    if (!values_of(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in.data() + at)), values))
      break;
    const __m128i pairs = _mm_maddubs_epi16(values, _mm_set1_epi32(0x01400140));  // 6 + 6 bits
    const __m128i groups = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00011000));     // 12 + 12 bits
    const __m128i bytes = _mm_shuffle_epi8(
        groups, _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
  }
  return at;
}

}  // namespace

std::size_t encode_blocks(Bytes in, char* out) { return has_shuffle() ? encode_ssse3(in, out) : 0; }

std::size_t decode_blocks(std::string_view in, std::uint8_t* out) {
  return has_shuffle() ? decode_ssse3(in, out) : 0;
}

#elif defined(__aarch64__)

namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Values of characters 0 to 63 and 64 to 127; 0xff for those that are no symbols.
constexpr std::array<std::uint8_t, 128> kValues = [] {
  std::array<std::uint8_t, 128> out{};
  out.fill(0xff);
  for (std::uint8_t i = 0; i < 64; ++i) out[static_cast<std::uint8_t>(kAlphabet[i])] = i;
  return out;
}();

uint8x16x4_t table(const std::uint8_t* at) {
  return {{vld1q_u8(at), vld1q_u8(at + 16), vld1q_u8(at + 32), vld1q_u8(at + 48)}};
}

// 0xff for what is no symbol: a look-up beyond a table gives 0, so the two are told apart first.
uint8x16_t values_of(uint8x16_t in, const uint8x16x4_t& low, const uint8x16x4_t& high) {
  const uint8x16_t in_high = vqtbl4q_u8(high, vsubq_u8(in, vdupq_n_u8(64)));
  const uint8x16_t in_low = vqtbl4q_u8(low, in);
  const uint8x16_t ascii = vbslq_u8(vcltq_u8(in, vdupq_n_u8(64)), in_low, in_high);
  return vorrq_u8(ascii, vcgeq_u8(in, vdupq_n_u8(128)));
}

}  // namespace

std::size_t encode_blocks(Bytes in, char* out) {
  const uint8x16x4_t alphabet = table(reinterpret_cast<const std::uint8_t*>(kAlphabet));
  const uint8x16_t six = vdupq_n_u8(63);
  std::size_t at = 0;
  for (; in.size() - at >= 48; at += 48, out += 64) {
    const uint8x16x3_t bytes = vld3q_u8(in.data() + at);
    const uint8x16_t a = bytes.val[0], b = bytes.val[1], c = bytes.val[2];
    uint8x16x4_t symbols;
    symbols.val[0] = vqtbl4q_u8(alphabet, vshrq_n_u8(a, 2));
    symbols.val[1] =
        vqtbl4q_u8(alphabet, vandq_u8(vorrq_u8(vshlq_n_u8(a, 4), vshrq_n_u8(b, 4)), six));
    symbols.val[2] =
        vqtbl4q_u8(alphabet, vandq_u8(vorrq_u8(vshlq_n_u8(b, 2), vshrq_n_u8(c, 6)), six));
    symbols.val[3] = vqtbl4q_u8(alphabet, vandq_u8(c, six));
    vst4q_u8(reinterpret_cast<std::uint8_t*>(out), symbols);
  }
  return at;
}

std::size_t decode_blocks(std::string_view in, std::uint8_t* out) {
  const uint8x16x4_t low = table(kValues.data()), high = table(kValues.data() + 64);
  std::size_t at = 0;
  for (; in.size() - at >= 64; at += 64, out += 48) {
    const uint8x16x4_t text = vld4q_u8(reinterpret_cast<const std::uint8_t*>(in.data() + at));
    const uint8x16_t a = values_of(text.val[0], low, high), b = values_of(text.val[1], low, high);
    const uint8x16_t c = values_of(text.val[2], low, high), d = values_of(text.val[3], low, high);
    if (vmaxvq_u8(vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d))) > 63) break;
    uint8x16x3_t bytes;
    bytes.val[0] = vorrq_u8(vshlq_n_u8(a, 2), vshrq_n_u8(b, 4));
    bytes.val[1] = vorrq_u8(vshlq_n_u8(b, 4), vshrq_n_u8(c, 2));
    bytes.val[2] = vorrq_u8(vshlq_n_u8(c, 6), d);
    vst3q_u8(out, bytes);
  }
  return at;
}

#else

std::size_t encode_blocks(Bytes, char*) { return 0; }
std::size_t decode_blocks(std::string_view, std::uint8_t*) { return 0; }

#endif

}  // namespace adit::codec
