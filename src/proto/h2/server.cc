#include "proto/h2/server.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>
#include <utility>

#include "base/byte_ring.h"
#include "base/check.h"

namespace adit::h2 {

namespace {

struct SessionFree {
  void operator()(nghttp2_session* s) const { nghttp2_session_del(s); }
};

// Of each field, as SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113 §6.5.2).
constexpr std::size_t kFieldOverhead = 32;
constexpr std::size_t kStatusDigits = 3;

std::string_view text_of(const std::uint8_t* at, std::size_t n) {
  return {reinterpret_cast<const char*>(at), n};
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view s) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(s.data()));
  };
  // The library copies both.
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

struct Stream {
  ByteRing received, sending;
  http::RequestHead head;
  std::size_t head_bytes = 0;
  bool too_long = false;
  bool head_done = false;      // what follows are trailers
  bool ended = false;          // the client's direction
  bool body_told = false;      // a RequestBody waits to be taken
  bool responded = false;      // with a final status
  bool finished = false;       // finish() was called
  bool fin_sent = false;
  bool deferred = false;       // the library waits for more to send
  bool blocked = false;        // a ResponseRoom is owed
  bool released = false;
  bool closed = false;         // the library has forgotten it
  bool reset_by_us = false;    // not for the client's fault
  std::uint64_t sent = 0;      // of the response's body
};

}  // namespace

struct Server::Impl {
  explicit Impl(const ServerSettings& s) : settings(s) {}

  // --- callbacks: they only record ---
  static Impl& self(void* user) { return *static_cast<Impl*>(user); }
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
      self(user).streams.try_emplace(frame->hd.stream_id);
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user) {
    Impl& impl = self(user);
    Stream* s = impl.find(frame->hd.stream_id);
    if (s == nullptr) return 0;
    s->head_bytes += name_size + value_size + kFieldOverhead;
    if (s->head_bytes > limits::kHttpHeadReadFactor * impl.settings.head_bytes_max)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // resets the stream
    // Trailers are counted, and dropped.
    if (!s->head_done) impl.add_field(*s, text_of(name, name_size), text_of(value, value_size));
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                     std::size_t size, void* user);
  static int on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user);
  static nghttp2_ssize read_body(nghttp2_session*, std::int32_t id, std::uint8_t* out,
                                 std::size_t size, std::uint32_t* flags, nghttp2_data_source*,
                                 void* user);

  void open();
  void add_field(Stream& s, std::string_view name, std::string_view value);
  void on_request(StreamId id, Stream& s);
  Stream* find(StreamId id) {
    const auto found = streams.find(id);
    return found == streams.end() ? nullptr : &found->second;
  }
  // Of a request that its owner still has.
  Stream* live(StreamId id) {
    Stream* s = find(id);
    return s == nullptr || s->released || s->closed || over ? nullptr : s;
  }
  void tell_body(StreamId id, Stream& s) {
    if (!s.released && !std::exchange(s.body_told, true)) events.emplace_back(RequestBody{id});
  }
  void end_direction(StreamId id) {
    Stream* s = find(id);
    if (s == nullptr) return;
    s->ended = true;
    tell_body(id, *s);
  }
  void wake(StreamId id, Stream& s) {
    if (std::exchange(s.deferred, false))
      (void)nghttp2_session_resume_data(session.get(), static_cast<std::int32_t>(id));
  }
  void reset(StreamId id, std::uint32_t code) {
    if (Stream* s = find(id)) s->reset_by_us = true;
    (void)nghttp2_submit_rst_stream(session.get(), NGHTTP2_FLAG_NONE,
                                    static_cast<std::int32_t>(id), code);
  }
  void drop_unread(Stream& s) {
    if (const std::size_t n = s.received.size(); n > 0) credit_due += n;
    s.received.release(s.received.end());
  }
  void give_credit() {
    if (const std::size_t n = std::exchange(credit_due, 0); n > 0 && !over)
      (void)nghttp2_session_consume_connection(session.get(), n);
  }
  void end(std::string why) {
    if (!std::exchange(over, true)) events.emplace_back(ServerOver{std::move(why)});
  }

  const ServerSettings settings;
  std::unique_ptr<nghttp2_session, SessionFree> session;
  std::unordered_map<StreamId, Stream> streams;
  std::vector<ServerEvent> events;
  std::vector<StreamId> gone;    // closed and released: to be erased outside of callbacks
  std::size_t credit_due = 0;    // of the connection, for bytes that were dropped
  std::size_t open_streams = 0;
  std::size_t provoked = 0;      // resets for the client's faults
  ByteVector out;
  bool over = false;
};

// --- callbacks -----------------------------------------------------------------------------------

void Server::Impl::add_field(Stream& s, std::string_view name, std::string_view value) {
  if (s.head_bytes > settings.head_bytes_max) {
    s.too_long = true;
    return;
  }
  http::RequestHead& head = s.head;
  if (name == ":method") {
    head.method = value;
  } else if (name == ":scheme") {
    head.scheme = http::lower_text(value);
  } else if (name == ":authority") {
    head.authority = http::lower_text(value);
  } else if (name == ":path") {
    head.target = value;
  } else if (name == "host") {
    // RFC 9113 §8.3.1: not to be used where there is an :authority.
    if (head.authority.empty()) head.authority = http::lower_text(value);
  } else if (name == "cookie" && http::has(head.fields, "cookie")) {
    // RFC 9113 §8.2.3: crumbs are put together for whoever is not HTTP/2.
    const auto at = std::ranges::find(head.fields, name, &http::Field::name);
    at->value.append("; ").append(value);
  } else {
    head.fields.push_back({std::string(name), std::string(value)});
  }
}

void Server::Impl::on_request(StreamId id, Stream& s) {
  ++open_streams;
  s.head_done = true;
  s.head_bytes = 0;  // of the trailers from here on
  s.head.version = 2;
  s.head.has_body = !s.ended;
  // The library has checked it (RFC 9113 §8.1.1), and that as many bytes come.
  const std::string_view length = http::field(s.head.fields, "content-length");
  std::uint64_t n = 0;
  if (!length.empty() &&
      std::from_chars(length.data(), length.data() + length.size(), n).ec == std::errc{})
    s.head.length = n;
  std::erase_if(s.head.fields, [](const http::Field& f) { return f.name == "content-length"; });
  events.emplace_back(RequestCame{id, std::move(s.head), s.too_long});
  s.head = {};
}

int Server::Impl::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  Impl& impl = self(user);
  const StreamId id = frame->hd.stream_id;
  const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    Stream* s = impl.find(id);
    if (s == nullptr) return 0;
    s->ended = ends;
    impl.on_request(id, *s);
  } else if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && ends) {
    impl.end_direction(id);
  }
  return 0;
}

int Server::Impl::on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  Impl& impl = self(user);
  const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (ends && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
    if (Stream* s = impl.find(frame->hd.stream_id)) {
      s->fin_sent = true;
      if (s->released && !s->ended) impl.reset(frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
  }
  if (frame->hd.type == NGHTTP2_RST_STREAM) {
    const Stream* s = impl.find(frame->hd.stream_id);
    if (s == nullptr || !s->reset_by_us) ++impl.provoked;
  }
  // The library ends the connection by itself when the client breaks the protocol.
  if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
    impl.end(std::string("the client broke HTTP/2: ") +
             nghttp2_http2_strerror(frame->goaway.error_code));
  return 0;
}

int Server::Impl::on_data(nghttp2_session*, std::uint8_t, std::int32_t id,
                          const std::uint8_t* data, std::size_t size, void* user) {
  Impl& impl = self(user);
  Stream* s = impl.find(id);
  if (s == nullptr || s->released) {
    impl.credit_due += size;
    return 0;
  }
  s->received.append({data, size});
  impl.tell_body(id, *s);
  return 0;
}

int Server::Impl::on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code,
                                  void* user) {
  Impl& impl = self(user);
  Stream* s = impl.find(id);
  if (s == nullptr) return 0;
  s->closed = true;
  if (s->head_done) --impl.open_streams;
  // In order: what the client sent last may still be read, and its end seen.
  const bool in_order = code == NGHTTP2_NO_ERROR && s->fin_sent;
  if (!in_order && s->head_done && !s->released) impl.events.emplace_back(RequestReset{id});
  if (s->released || !s->head_done) impl.gone.push_back(id);
  return 0;
}

nghttp2_ssize Server::Impl::read_body(nghttp2_session*, std::int32_t id, std::uint8_t* out,
                                      std::size_t size, std::uint32_t* flags,
                                      nghttp2_data_source*, void* user) {
  Impl& impl = self(user);
  Stream* s = impl.find(id);
  if (s == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  std::size_t n = 0;
  while (n < size && !s->sending.empty()) {
    const Bytes run = s->sending.peek(s->sending.begin());
    const std::size_t piece = std::min(run.size(), size - n);
    std::copy_n(run.begin(), piece, out + n);
    s->sending.release(s->sending.begin() + piece);
    n += piece;
  }
  s->sent += n;
  if (n > 0 && !s->released && std::exchange(s->blocked, false))
    impl.events.emplace_back(ResponseRoom{id});
  if (s->sending.empty() && s->finished) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  } else if (n == 0) {
    s->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<nghttp2_ssize>(n);
}

// --- the connection ------------------------------------------------------------------------------

void Server::Impl::open() {
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
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session* raw = nullptr;
  CHECK(nghttp2_session_server_new2(&raw, callbacks, this, option) == 0);
  session.reset(raw);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);

  const std::array<nghttp2_settings_entry, 3> entries = {
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.streams_max},
       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
        static_cast<std::uint32_t>(settings.stream_window_bytes)},
       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
        static_cast<std::uint32_t>(settings.head_bytes_max)}}};
  CHECK(nghttp2_submit_settings(raw, NGHTTP2_FLAG_NONE, entries.data(), entries.size()) == 0);
  CHECK(nghttp2_session_set_local_window_size(
            raw, NGHTTP2_FLAG_NONE, 0,
            static_cast<std::int32_t>(settings.connection_window_bytes)) == 0);
}

Server::Server(const ServerSettings& settings) : impl_(std::make_unique<Impl>(settings)) {
  impl_->open();
}

Server::~Server() = default;

void Server::feed(Bytes bytes) {
  Impl& c = *impl_;
  if (c.over || bytes.empty()) return;
  const nghttp2_ssize n = nghttp2_session_mem_recv2(c.session.get(), bytes.data(), bytes.size());
  if (n < 0) c.end(std::string("not HTTP/2: ") + nghttp2_strerror(static_cast<int>(n)));
  c.give_credit();
}

Bytes Server::drain(std::size_t most) {
  Impl& c = *impl_;
  c.out.clear();
  while (c.out.size() < most) {
    const std::uint8_t* data = nullptr;
    const nghttp2_ssize n = nghttp2_session_mem_send2(c.session.get(), &data);
    if (n < 0) c.end("out of memory");
    if (n <= 0) break;
    c.out.insert(c.out.end(), data, data + n);
  }
  for (const StreamId id : std::exchange(c.gone, {})) c.streams.erase(id);
  if (c.out.empty()) c.out = {};  // an idle connection holds no buffer
  return c.out;
}

std::vector<ServerEvent> Server::take_events() {
  Impl& c = *impl_;
  for (const ServerEvent& e : c.events)
    if (const auto* body = std::get_if<RequestBody>(&e))
      if (Stream* s = c.find(body->id)) s->body_told = false;
  return std::exchange(c.events, {});
}

bool Server::has_events() const { return !impl_->events.empty(); }

// --- a request -----------------------------------------------------------------------------------

Bytes Server::readable(StreamId id) const {
  const Stream* s = impl_->find(id);
  return s == nullptr ? Bytes{} : s->received.peek(s->received.begin());
}

void Server::consume(StreamId id, std::size_t n) {
  Impl& c = *impl_;
  Stream* s = c.find(id);
  if (n == 0 || s == nullptr) return;
  CHECK(n <= s->received.size());
  s->received.release(s->received.begin() + n);
  // The connection's credit also where the stream is gone.
  if (!c.over) (void)nghttp2_session_consume(c.session.get(), static_cast<std::int32_t>(id), n);
}

bool Server::at_end(StreamId id) const {
  const Stream* s = impl_->find(id);
  return s != nullptr && s->ended && s->received.empty();
}

void Server::respond(StreamId id, const http::ResponseHead& head, bool ends) {
  Impl& c = *impl_;
  Stream* s = c.live(id);
  if (s == nullptr || s->responded) return;
  std::array<char, kStatusDigits> digits{};
  CHECK(head.status >= 100 && head.status <= 599);
  std::to_chars(digits.data(), digits.data() + digits.size(), head.status);
  std::vector<nghttp2_nv> fields = {header(":status", {digits.data(), digits.size()})};
  for (const http::Field& f : head.fields) fields.push_back(header(f.name, f.value));
  const std::string length = head.length ? std::to_string(*head.length) : std::string();
  if (head.length) fields.push_back(header("content-length", length));
  if (head.status < 200) {
    (void)nghttp2_submit_headers(c.session.get(), NGHTTP2_FLAG_NONE,
                                 static_cast<std::int32_t>(id), nullptr, fields.data(),
                                 fields.size(), nullptr);
    return;
  }
  s->responded = true;
  s->finished = ends;
  nghttp2_data_provider2 body{};
  body.read_callback = Impl::read_body;
  (void)nghttp2_submit_response2(c.session.get(), static_cast<std::int32_t>(id), fields.data(),
                                 fields.size(), ends ? nullptr : &body);
}

std::size_t Server::write(StreamId id, Bytes bytes) {
  Impl& c = *impl_;
  Stream* s = c.live(id);
  if (s == nullptr || s->finished) return 0;
  const std::size_t n =
      std::min(bytes.size(), c.settings.send_bytes - std::min(c.settings.send_bytes,
                                                              s->sending.size()));
  s->blocked = n < bytes.size();
  s->sending.append(bytes.first(n));
  if (n > 0) c.wake(id, *s);
  return n;
}

void Server::finish(StreamId id) {
  Stream* s = impl_->live(id);
  if (s == nullptr || std::exchange(s->finished, true)) return;
  impl_->wake(id, *s);
}

void Server::release(StreamId id) {
  Impl& c = *impl_;
  Stream* s = c.find(id);
  if (s == nullptr || std::exchange(s->released, true)) return;
  c.drop_unread(*s);
  c.give_credit();
  if (s->closed) {
    c.gone.push_back(id);
  } else if (!c.over && !(s->responded && s->finished)) {
    c.reset(id, NGHTTP2_INTERNAL_ERROR);
  } else if (!c.over && s->fin_sent && !s->ended) {
    c.reset(id, NGHTTP2_NO_ERROR);
  }
}

std::vector<Server::Left> Server::left() const {
  std::vector<Left> out;
  for (const auto& [id, s] : impl_->streams)
    if (s.released && !s.closed) out.push_back({id, s.sent});
  return out;
}

void Server::cut(StreamId id) {
  const Stream* s = impl_->find(id);
  if (s != nullptr && s->released && !s->closed && !impl_->over) impl_->reset(id, NGHTTP2_CANCEL);
}

std::size_t Server::take_provoked() { return std::exchange(impl_->provoked, 0); }

void Server::go_away(std::uint32_t code) {
  Impl& c = *impl_;
  if (c.over) return;
  if (code != NGHTTP2_NO_ERROR) {
    (void)nghttp2_session_terminate_session(c.session.get(), code);
    return;
  }
  (void)nghttp2_submit_goaway(c.session.get(), NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(c.session.get()), code,
                              nullptr, 0);
}

std::size_t Server::open() const { return impl_->open_streams; }

bool Server::over() const { return impl_->over; }

}  // namespace adit::h2
