#include "proto/h2/connection.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_map>
#include <utility>

#include "base/byte_ring.h"
#include "base/check.h"

namespace adit::h2 {

namespace {

// Codes of the link protocol in RST_STREAM and GOAWAY: apart from those of RFC 9113 §7, which a
// library may send by itself.
constexpr std::uint32_t kCodeBase = 0x61640000;
constexpr std::uint32_t kCodeMask = 0xffff0000;
constexpr std::size_t kPathBytesMax = 256, kReasonBytesMax = 512;

std::uint32_t to_wire(std::uint64_t code) {
  return kCodeBase | static_cast<std::uint32_t>(code & 0xffff);
}
bool is_ours(std::uint32_t wire) { return (wire & kCodeMask) == kCodeBase; }
std::uint64_t from_wire(std::uint32_t wire) { return is_ours(wire) ? wire & 0xffff : wire; }

struct SessionFree {
  void operator()(nghttp2_session* s) const { nghttp2_session_del(s); }
};

nghttp2_nv header(std::string_view name, std::string_view value) {
  const auto text = [](std::string_view s) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(s.data()));
  };
  // The library copies both.
  return {text(name), text(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

struct Stream {
  ByteRing received;
  std::string path;
  bool finished = false;        // the peer's direction has ended
  bool was_reset = false;       // by the peer
  bool discarding = false;      // reset by us
  bool readable_told = false;   // a StreamReadable waits to be taken
  bool answered = false;        // server: the response is submitted
  bool deferred = false;        // the library waits for wake()
  bool fin_sent = false;
  bool closed = false;          // the library has forgotten it
  StreamSource* source = nullptr;
  std::uint64_t sent = 0, acked_told = 0;
};

}  // namespace

struct Connection::Impl {
  Impl(Role r, const Settings& s, std::string_view a, Instant at)
      : role(r), settings(s), authority(a), heard(at), now(at) {}

  // --- callbacks: they only record ---
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user);
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                     std::size_t size, void* user);
  static int on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user);
  static nghttp2_ssize read_source(nghttp2_session*, std::int32_t id, std::uint8_t* out,
                                   std::size_t size, std::uint32_t* flags, nghttp2_data_source*,
                                   void* user);

  void open();
  Stream* find(StreamId id) {
    const auto found = streams.find(id);
    return found == streams.end() ? nullptr : &found->second;
  }
  void tell_readable(StreamId id, Stream& s) {
    if (!std::exchange(s.readable_told, true)) events.emplace_back(StreamReadable{id});
  }
  void finish_direction(StreamId id) {
    Stream* s = find(id);
    if (s == nullptr) return;
    s->finished = true;
    tell_readable(id, *s);
  }
  void end(Closed why);
  void tell_acked();
  std::size_t events_left = 0;  // after the end: up to Closed
  void collect();
  void submit_ping(Instant now);

  const Role role;
  const Settings settings;
  const std::string authority;
  std::unique_ptr<nghttp2_session, SessionFree> session;
  std::unordered_map<StreamId, Stream> streams;
  std::vector<Event> events;
  std::vector<StreamId> acked;            // with news for their source
  std::vector<StreamId> over;             // StreamClosed taken, to be collected
  std::size_t open_streams = 0;
  std::uint64_t credit_due = 0;           // connection credit for bytes dropped in a callback
  Instant heard;
  bool ping_sent = false;
  Duration rtt{};
  Instant now;                            // of the call that is running
  ByteVector out;
  bool closed = false;
};

// --- callbacks -----------------------------------------------------------------------------------

int Connection::Impl::on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  auto& impl = *static_cast<Impl*>(user);
  if (impl.role == Role::Server && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
    impl.open_streams += impl.streams.try_emplace(frame->hd.stream_id).second ? 1 : 0;
  return 0;
}

int Connection::Impl::on_header(nghttp2_session*, const nghttp2_frame* frame,
                                const std::uint8_t* name, std::size_t name_size,
                                const std::uint8_t* value, std::size_t value_size, std::uint8_t,
                                void* user) {
  auto& impl = *static_cast<Impl*>(user);
  const std::string_view key(reinterpret_cast<const char*>(name), name_size);
  const std::string_view text(reinterpret_cast<const char*>(value), value_size);
  Stream* s = impl.find(frame->hd.stream_id);
  if (s == nullptr) return 0;
  if (impl.role == Role::Server && key == ":path" && text.size() <= kPathBytesMax) s->path = text;
  // A refusal that is no RST_STREAM: whoever answers there is no agent of ours.
  if (impl.role == Role::Client && key == ":status" && text != "200")
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  return 0;
}

int Connection::Impl::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  auto& impl = *static_cast<Impl*>(user);
  const StreamId id = frame->hd.stream_id;
  const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
      if (impl.role == Role::Server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (const Stream* s = impl.find(id)) impl.events.emplace_back(StreamOpened{id, s->path});
      }
      if (ends) impl.finish_direction(id);
      break;
    case NGHTTP2_DATA:
      if (ends) impl.finish_direction(id);
      break;
    case NGHTTP2_RST_STREAM:
      if (Stream* s = impl.find(id); s != nullptr && !std::exchange(s->was_reset, true))
        impl.events.emplace_back(StreamReset{id, from_wire(frame->rst_stream.error_code)});
      break;
    case NGHTTP2_PING:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        std::int64_t sent = 0;
        for (const std::uint8_t byte : frame->ping.opaque_data) sent = (sent << 8) | byte;
        if (sent > 0 && sent <= impl.now.ns) impl.rtt = impl.now - Instant{sent};
      }
      break;
    case NGHTTP2_GOAWAY: {
      const std::uint32_t code = frame->goaway.error_code;
      const std::size_t size = std::min(frame->goaway.opaque_data_len, kReasonBytesMax);
      impl.end({from_wire(code), is_ours(code), true, false,
                std::string(reinterpret_cast<const char*>(frame->goaway.opaque_data), size)});
      break;
    }
    default: break;
  }
  return 0;
}

// The library ends the connection by itself when the peer breaks the protocol.
int Connection::Impl::on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  auto& impl = *static_cast<Impl*>(user);
  if (frame->hd.type == NGHTTP2_GOAWAY)
    impl.end({frame->goaway.error_code, false, false, false, "the peer broke HTTP/2"});
  return 0;
}

int Connection::Impl::on_data(nghttp2_session*, std::uint8_t, std::int32_t id,
                              const std::uint8_t* data, std::size_t size, void* user) {
  auto& impl = *static_cast<Impl*>(user);
  Stream* s = impl.find(id);
  if (s == nullptr || s->discarding) {
    impl.credit_due += size;
    return 0;
  }
  s->received.append({data, size});
  impl.tell_readable(id, *s);
  return 0;
}

int Connection::Impl::on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code,
                                      void* user) {
  auto& impl = *static_cast<Impl*>(user);
  Stream* s = impl.find(id);
  if (s == nullptr) return 0;
  s->closed = true;
  --impl.open_streams;
  // Ended by the library, since the peer broke a rule of the stream's.
  if (code != NGHTTP2_NO_ERROR && !s->was_reset && !s->discarding) {
    s->was_reset = true;
    impl.events.emplace_back(StreamReset{id, from_wire(code)});
  }
  impl.events.emplace_back(StreamClosed{id});
  return 0;
}

nghttp2_ssize Connection::Impl::read_source(nghttp2_session*, std::int32_t id, std::uint8_t* out,
                                            std::size_t size, std::uint32_t* flags,
                                            nghttp2_data_source*, void* user) {
  auto& impl = *static_cast<Impl*>(user);
  Stream* s = impl.find(id);
  if (s == nullptr || s->source == nullptr) {
    if (s != nullptr) s->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  std::size_t n = 0;
  while (n < size) {
    const Bytes run = s->source->peek(s->sent + n);
    if (run.empty()) break;
    const std::size_t piece = std::min(run.size(), size - n);
    std::copy_n(run.begin(), piece, out + n);
    n += piece;
  }
  s->sent += n;
  if (n > 0) impl.acked.push_back(id);
  if (s->source->ends_at(s->sent)) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    s->fin_sent = true;
  } else if (n == 0) {
    s->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<nghttp2_ssize>(n);
}

// --- the connection ------------------------------------------------------------------------------

void Connection::Impl::open() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  // Credit is given when bytes are consumed.
  nghttp2_option_set_no_auto_window_update(option, 1);
  // Closed streams need not be kept for a tree of priorities.
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session* raw = nullptr;
  const int made = role == Role::Client
                       ? nghttp2_session_client_new2(&raw, callbacks, this, option)
                       : nghttp2_session_server_new2(&raw, callbacks, this, option);
  CHECK(made == 0);
  session.reset(raw);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);

  const auto window = static_cast<std::uint32_t>(settings.stream_window_bytes);
  std::array<nghttp2_settings_entry, 2> entries = {
      {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}}};
  if (role == Role::Server)
    entries[1] = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.streams_max};
  CHECK(nghttp2_submit_settings(raw, NGHTTP2_FLAG_NONE, entries.data(), entries.size()) == 0);
  CHECK(nghttp2_session_set_local_window_size(
            raw, NGHTTP2_FLAG_NONE, 0,
            static_cast<std::int32_t>(settings.connection_window_bytes)) == 0);
}

void Connection::Impl::end(Closed why) {
  if (std::exchange(closed, true)) return;
  for (auto& [id, s] : streams) s.source = nullptr;  // no source is touched again
  events.emplace_back(std::move(why));
  events_left = events.size();
}

void Connection::Impl::tell_acked() {
  for (const StreamId id : std::exchange(acked, {})) {
    Stream* s = find(id);
    if (s == nullptr || s->source == nullptr || s->acked_told == s->sent) continue;
    s->acked_told = s->sent;
    s->source->acked(s->sent);
  }
}

// Streams whose end the owner has seen and whose bytes it has consumed.
void Connection::Impl::collect() {
  std::erase_if(over, [this](StreamId id) {
    const auto found = streams.find(id);
    if (found != streams.end() && !found->second.received.empty()) return false;
    if (found != streams.end()) streams.erase(found);
    return true;
  });
}

void Connection::Impl::submit_ping(Instant at) {
  std::array<std::uint8_t, 8> stamp{};
  for (std::size_t i = 0; i < stamp.size(); ++i)
    stamp[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(at.ns) >> (56 - 8 * i));
  ping_sent = nghttp2_submit_ping(session.get(), NGHTTP2_FLAG_NONE, stamp.data()) == 0;
}

Connection::Connection(Role role, const Settings& settings, std::string_view authority, Instant now)
    : impl_(std::make_unique<Impl>(role, settings, authority, now)) {
  impl_->open();
  impl_->submit_ping(now);  // the first round trip time
}

Connection::~Connection() = default;

void Connection::feed(Bytes bytes, Instant now) {
  Impl& c = *impl_;
  if (c.closed || bytes.empty()) return;
  c.now = c.heard = now;
  c.ping_sent = false;
  const nghttp2_ssize n = nghttp2_session_mem_recv2(c.session.get(), bytes.data(), bytes.size());
  if (n < 0)
    c.end({NGHTTP2_PROTOCOL_ERROR, false, false, false, nghttp2_strerror(static_cast<int>(n))});
  if (c.credit_due > 0)
    (void)nghttp2_session_consume_connection(c.session.get(), std::exchange(c.credit_due, 0));
}

void Connection::on_deadline(Instant now) {
  Impl& c = *impl_;
  if (c.closed || now < next_deadline()) return;
  if (now - c.heard >= c.settings.dead_after)
    return c.end({0, false, false, true, "nothing was heard from the peer"});
  c.submit_ping(now);
}

Instant Connection::next_deadline() const {
  const Impl& c = *impl_;
  if (c.closed) return Instant::never();
  return c.heard + (c.ping_sent ? c.settings.dead_after : c.settings.ping_after);
}

Instant Connection::unanswered_since() const {
  const Impl& c = *impl_;
  return c.ping_sent ? c.heard + c.settings.ping_after : Instant::never();
}

Bytes Connection::drain(std::size_t most, Instant now) {
  Impl& c = *impl_;
  c.now = now;
  c.collect();
  c.out.clear();
  while (c.out.size() < most) {
    const std::uint8_t* data = nullptr;
    const nghttp2_ssize n = nghttp2_session_mem_send2(c.session.get(), &data);
    if (n < 0) c.end({NGHTTP2_INTERNAL_ERROR, false, false, false, "out of memory"});
    if (n <= 0) break;
    c.out.insert(c.out.end(), data, data + n);
  }
  c.tell_acked();
  if (c.out.empty()) give_back(c.out);  // an idle connection holds no buffer
  return c.out;
}

std::vector<Event> Connection::take_events() {
  Impl& c = *impl_;
  c.collect();
  // Frames that came with the last one, or what sending the goodbye brings about.
  if (c.closed) c.events.resize(std::min(c.events.size(), std::exchange(c.events_left, 0)));
  for (const Event& e : c.events) {
    if (const auto* readable = std::get_if<StreamReadable>(&e)) {
      if (Stream* s = c.find(readable->id)) s->readable_told = false;
    } else if (const auto* gone = std::get_if<StreamClosed>(&e)) {
      c.over.push_back(gone->id);
    }
  }
  return std::exchange(c.events, {});
}

// --- streams -------------------------------------------------------------------------------------

Result<StreamId> Connection::open_stream(std::string_view path) {
  Impl& c = *impl_;
  CHECK(c.role == Role::Client);
  if (c.closed) return Error{ENOTCONN, "the connection is closed"};
  if (c.open_streams >= nghttp2_session_get_remote_settings(c.session.get(),
                                                  NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    return Error{EAGAIN, "the peer allows no more streams now"};
  const std::array<nghttp2_nv, 4> headers = {header(":method", "POST"), header(":scheme", "https"),
                                             header(":authority", c.authority),
                                             header(":path", path)};
  nghttp2_data_provider2 body{};
  body.read_callback = Impl::read_source;
  const std::int32_t id = nghttp2_submit_request2(c.session.get(), nullptr, headers.data(),
                                                  headers.size(), &body, nullptr);
  if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
    return Error{EOVERFLOW, "the connection's stream ids are used up"};
  if (id < 0) return Error{ENOMEM, nghttp2_strerror(id)};
  c.streams.try_emplace(id);
  ++c.open_streams;
  return StreamId{id};
}

void Connection::attach(StreamId id, StreamSource* source) {
  Impl& c = *impl_;
  Stream* s = c.find(id);
  if (s == nullptr || s->closed || c.closed) return;
  CHECK(source != nullptr && s->source == nullptr);
  s->source = source;
  if (c.role == Role::Client || std::exchange(s->answered, true)) return wake(id);
  const nghttp2_nv status = header(":status", "200");
  nghttp2_data_provider2 body{};
  body.read_callback = Impl::read_source;
  (void)nghttp2_submit_response2(c.session.get(), static_cast<std::int32_t>(id), &status, 1, &body);
}

void Connection::detach(StreamId id) {
  Stream* s = impl_->find(id);
  if (s == nullptr || s->source == nullptr) return;
  s->source = nullptr;
  if (!s->fin_sent && !s->closed) reset(id, 0);
}

void Connection::wake(StreamId id) {
  Impl& c = *impl_;
  Stream* s = c.find(id);
  if (s == nullptr || s->closed || c.closed || !std::exchange(s->deferred, false)) return;
  (void)nghttp2_session_resume_data(c.session.get(), static_cast<std::int32_t>(id));
}

Bytes Connection::readable(StreamId id) const {
  const Stream* s = impl_->find(id);
  return s == nullptr ? Bytes{} : s->received.peek(s->received.begin());
}

void Connection::consume(StreamId id, std::size_t n) {
  Impl& c = *impl_;
  if (n == 0) return;
  Stream* s = c.find(id);
  CHECK(s != nullptr && n <= s->received.size());
  s->received.release(s->received.begin() + n);
  // The connection's credit also where the stream is gone.
  if (!c.closed) (void)nghttp2_session_consume(c.session.get(), static_cast<std::int32_t>(id), n);
}

bool Connection::at_end(StreamId id) const {
  const Stream* s = impl_->find(id);
  return s != nullptr && s->finished && !s->was_reset && !s->discarding && s->received.empty();
}

void Connection::reset(StreamId id, std::uint64_t code) {
  Impl& c = *impl_;
  Stream* s = c.find(id);
  if (s == nullptr || c.closed || std::exchange(s->discarding, true)) return;
  s->source = nullptr;
  const std::size_t unread = s->received.size();
  s->received.release(s->received.end());
  if (unread > 0) (void)nghttp2_session_consume_connection(c.session.get(), unread);
  if (s->closed) return;
  (void)nghttp2_submit_rst_stream(c.session.get(), NGHTTP2_FLAG_NONE,
                                  static_cast<std::int32_t>(id), to_wire(code));
}

void Connection::close(std::uint64_t code, std::string_view reason) {
  Impl& c = *impl_;
  if (c.closed) return;
  const std::string_view said = reason.substr(0, kReasonBytesMax);
  (void)nghttp2_submit_goaway(c.session.get(), NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(c.session.get()),
                              to_wire(code), reinterpret_cast<const std::uint8_t*>(said.data()),
                              said.size());
  c.end({code, true, false, false, std::string(reason)});
}

bool Connection::closed() const { return impl_->closed; }

Duration Connection::rtt() const { return impl_->rtt; }

}  // namespace adit::h2
