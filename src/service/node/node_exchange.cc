#include "service/node/node_exchange.h"

#include <algorithm>
#include <cerrno>

#include "proto/codec/base64.h"
#include "service/node/node_site.h"

namespace adit::service {

using Verdict = node::RequestScanner::Verdict;

namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::size_t kChunkBytes = std::size_t{64} << 10;
// Of gzip at a time: it may become a thousand times as much.
constexpr std::size_t kGzipSliceBytes = 1024;

// The page of a web server that has nothing there.
constexpr std::string_view kDecoy =
    "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    "<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n";
static_assert(kDecoy.size() == 146);

// RFC 9110 §8.3.1: parameters do not matter here, nor does case.
bool is_json(std::string_view type) {
  const std::string t = http::lower_text(http::trimmed(type.substr(0, type.find(';'))));
  return t == "application/json" || (t.starts_with("application/") && t.ends_with("+json"));
}

std::vector<node::OpResult> only(node::OpResult result) {
  std::vector<node::OpResult> out;
  out.push_back(std::move(result));
  return out;
}

}  // namespace

NodeExchange::Route NodeExchange::route_of(std::string_view target) {
  const std::string_view raw = target.substr(0, target.find('?'));
  std::string path;
  for (const char c : raw)
    if (c != '/' || path.empty() || path.back() != '/') path += c;
  if (path == "/") return Route::Root;
  if (path.ends_with('/')) path.pop_back();
  if (path == "/health") return Route::Health;
  if (path == "/tunnel") return Route::Single;
  if (path == "/tunnel/batch") return Route::Batch;
  return Route::Nothing;
}

NodeExchange::NodeExchange(NodeSite& site, std::unique_ptr<flow::HttpExchange> exchange)
    : site_(site),
      loop_(site.node_.context().loop),
      exchange_(std::move(exchange)),
      route_(route_of(exchange_->request().target)),
      timer_(loop_, Delegate<void()>::to<&NodeExchange::on_timer>(this)) {}

NodeExchange::~NodeExchange() { give_back(); }

void NodeExchange::start() {
  exchange_->set_listener(this);
  const std::string_view method = exchange_->request().method;
  const bool read = method == "GET" || method == "HEAD";
  const bool diagnostic = site_.node_.settings().diagnostic;
  switch (route_) {
    case Route::Root:
    case Route::Health:
      if (read) return say(200, kText, "ok");
      if (!diagnostic) return decoy();
      return say(405, {}, {}, {{"allow", "GET,HEAD"}});
    case Route::Nothing:
      if (!diagnostic) return decoy();
      return say(404, {}, {});
    case Route::Single:
    case Route::Batch:
      if (method == "POST") break;
      if (!diagnostic) return decoy();
      return say(405, {}, {}, {{"allow", "POST"}});
  }
  scanner_ = std::make_unique<node::RequestScanner>(
      node::ScanLimits{.body_bytes = site_.node_.settings().body_bytes});
  site_.reading_.push_back(*this);
  timer_.set(loop_.now() + limits::kNodeBodyDeadline);
  run_later();
}

// --- the request ---

void NodeExchange::read_later() { run_later(); }

void NodeExchange::on_body() {
  while (state_ == State::Reading) {
    const Bytes run = exchange_->readable();
    if (run.empty()) break;
    if (!site_.may_read(*this, run.size())) return;
    counted_ += run.size();
    if (!take_body(run)) return;
    exchange_->consume(run.size());
  }
  if (state_ == State::Reading && exchange_->at_end()) on_request();
}

// False: it has been answered.
bool NodeExchange::take_body(Bytes in) {
  if (route_ == Route::Single) return scan(in);
  if (!sniffed_) {
    first_.insert(first_.end(), in.begin(), in.end());
    if (first_.size() < 2) return true;
    sniffed_ = true;
    if (codec::looks_like_gzip(first_))
      gunzip_ = std::make_unique<codec::Gunzip>(site_.node_.settings().body_bytes);
    in = first_;
  }
  if (gunzip_ == nullptr) return scan(in);
  while (!in.empty()) {
    const std::size_t n = std::min(in.size(), kGzipSliceBytes);
    ByteVector plain;
    const Status ok = gunzip_->feed(in.first(n), plain);
    if (!plain.empty() && !scan(plain)) return false;
    if (!ok) return complain({200, "gzip decode: " + ok.error().what}), false;
    in = in.subspan(n);
  }
  return true;
}

// The key is looked for as the body comes: nothing else is done for those who have none.
bool NodeExchange::scan(Bytes in) {
  const Verdict verdict = scanner_->feed(in);
  if (key_ == nullptr && scanner_->key() != nullptr) {
    key_ = site_.node_.keys().find(*scanner_->key());
    if (key_ == nullptr) {
      site_.node_.context().metrics.counter("adit_node_wrong_keys_total").add();
      if (!site_.node_.settings().diagnostic) return decoy(), false;
      auto results = only(node::OpResult::error("unauthorized"));
      const auto form = route_ == Route::Single ? node::ReplyWriter::Form::Single
                                                : node::ReplyWriter::Form::Batch;
      return answer_with(node::ReplyWriter(form, std::move(results))), false;
    }
  }
  if (verdict == Verdict::TooLong) {
    complain({413, "Failed to buffer the request body: length limit exceeded"});
    return false;
  }
  if (verdict == Verdict::TooComplex) {
    const std::string_view prefix = route_ == Route::Single
                                        ? "Failed to parse the request body as JSON: "
                                        : "bad json: ";
    complain({route_ == Route::Single ? 400 : 200, std::string(prefix) + "too complex"});
    return false;
  }
  if (key_ == nullptr && scanner_->fed() > limits::kNodeBlindBytesMax)
    return complain({413, "no key in the first part of the body"}), false;
  return true;
}

// Only who has a key hears what is wrong. A batch's complaints are results, one for all ops.
void NodeExchange::complain(Complaint complaint) {
  if (key_ == nullptr && !site_.node_.settings().diagnostic) return decoy();
  if (complaint.status != 200) return say(complaint.status, kText, std::move(complaint.text));
  answer_with(node::ReplyWriter(node::ReplyWriter::Form::Batch,
                                only(node::OpResult::error(std::move(complaint.text)))));
}

void NodeExchange::on_request() {
  if (route_ == Route::Batch && !sniffed_ && !first_.empty() && !scan(first_)) return;
  if (gunzip_ != nullptr && !gunzip_->done())
    return complain({200, "gzip decode: unexpected end of file"});
  if (key_ != nullptr && key_->requests.limits() && key_->requests.available(loop_.now()) == 0) {
    state_ = State::Queued;
    const Instant at = key_->requests.ready_at(1);
    if (at - loop_.now() > limits::kNodeRateWait)
      return say(429, kText, "too many requests", {{"retry-after", "5"}});
    return timer_.set(at);
  }
  timer_.stop();
  if (key_ != nullptr) key_->requests.take(1);
  site_.node_.context().metrics.counter("adit_node_requests_total").add();
  state_ = State::Working;
  static_cast<ListNode<ReadingBody>&>(*this).unlink();
  if (route_ == Route::Single) return parse_single();
  parse_batch();
}

// A connection that was given up under its exchanges tells them nothing, and takes nothing.
void NodeExchange::on_timer() {
  switch (state_) {
    case State::Queued: return on_request();
    case State::Working: return;
    case State::Reading:
    case State::Answering: return end();
  }
}

void NodeExchange::parse_single() {
  if (!is_json(http::field(exchange_->request().fields, "content-type")))
    return complain({415, "Expected request with `Content-Type: application/json`"});
  auto parsed = node::parse_single(*scanner_);
  scanner_.reset();
  if (auto* fault = std::get_if<node::Fault>(&parsed)) {
    if (fault->kind == node::Fault::Kind::Syntax)
      return complain({400, "Failed to parse the request body as JSON: " + fault->text});
    return complain({422, "Failed to deserialize the JSON body into the target type: " +
                              fault->text});
  }
  if (key_ == nullptr) return decoy();
  std::vector<node::Op> ops;
  ops.push_back(std::move(std::get<node::Op>(parsed)));
  work(std::move(ops), Job::Mode::Single);
}

void NodeExchange::parse_batch() {
  auto parsed = node::parse_batch(*scanner_);
  scanner_.reset();
  first_ = {};
  gunzip_.reset();
  if (auto* fault = std::get_if<node::Fault>(&parsed))
    return complain({200, "bad json: " + fault->text});
  if (key_ == nullptr) return decoy();
  auto& batch = std::get<node::Batch>(parsed);
  const unsigned wanted = batch.zc.value_or(0);
  if (site_.node_.settings().compression) {
    squeeze_ = batch.zops.has_value() || (wanted & 1) != 0;
    if ((wanted & 2) != 0) {
      tell_zc_ = 3;
    } else if (squeeze_) {
      tell_zc_ = 1;
    }
  }
  if (!batch.zops) return work(std::move(batch.ops), Job::Mode::Batch);
  ByteVector packed, text;
  if (const auto fault = codec::base64_decode(*batch.zops, packed))
    return complain({200, "zops b64: " + fault->text()});
  if (auto ok = site_.decoder_.decode(packed, site_.node_.settings().body_bytes, text); !ok)
    return complain({200, "zstd decode: " + ok.error().what});
  node::RequestScanner scanner({.body_bytes = site_.node_.settings().body_bytes});
  if (scanner.feed(text) != Verdict::More) return complain({200, "zops json: too complex"});
  auto ops = node::parse_ops(scanner);
  if (auto* fault = std::get_if<node::Fault>(&ops))
    return complain({200, "zops json: " + fault->text});
  work(std::move(std::get<std::vector<node::Op>>(ops)), Job::Mode::Batch);
}

void NodeExchange::work(std::vector<node::Op> ops, Job::Mode mode) {
  job_ = &site_.node_.start(*key_, std::move(ops), mode,
                            Job::Done::to<&NodeExchange::on_results>(this));
}

// --- the answer ---

void NodeExchange::on_results(std::vector<node::OpResult> results) {
  job_ = nullptr;
  give_back();
  using Form = node::ReplyWriter::Form;
  if (route_ == Route::Single)
    return answer_with(node::ReplyWriter(Form::Single, std::move(results)));
  std::size_t bytes = 0;
  for (const node::OpResult& r : results) bytes += r.payload_bytes();
  if (!squeeze_ || bytes > limits::kNodeSqueezeBytesMax)
    return answer_with(node::ReplyWriter(Form::Batch, std::move(results), tell_zc_));
  SqueezeWork::writer.emplace(Form::Array, std::move(results));
  site_.squeeze_.add(*this);
}

void NodeExchange::on_squeezed(std::optional<ByteVector> out) {
  SqueezeWork::writer.reset();
  if (!out) {
    // Out of memory. Its polls can be repeated.
    exchange_->abort();
    return end();
  }
  squeezed_ = std::move(*out);
  text_ = "{\"zr\":\"";
  suffix_ = "\",\"zc\":" + std::to_string(*tell_zc_) + "}";
  respond(200, kJson, text_.size() + codec::base64_size(squeezed_.size()) + suffix_.size(), {});
}

void NodeExchange::answer_with(node::ReplyWriter reply) {
  const std::uint64_t length = reply.size();
  reply_.emplace(std::move(reply));
  respond(200, kJson, length, {});
}

void NodeExchange::decoy() {
  site_.node_.context().metrics.counter("adit_node_decoys_total").add();
  say(404, "text/html", std::string(kDecoy), {{"server", "nginx"}});
}

void NodeExchange::say(int status, std::string_view type, std::string body, http::Fields fields) {
  text_ = std::move(body);
  respond(status, type, text_.size(), std::move(fields));
}

void NodeExchange::respond(int status, std::string_view type, std::uint64_t length,
                           http::Fields fields) {
  state_ = State::Answering;
  static_cast<ListNode<ReadingBody>&>(*this).unlink();
  give_back();
  if (!type.empty()) fields.insert(fields.begin(), {"content-type", std::string(type)});
  exchange_->respond({status, std::move(fields), length});
  timer_.set(loop_.now() + limits::kHttpResponseStall);
  run_later();
}

void NodeExchange::run_later() { site_.bulk_.push(*this); }

std::size_t NodeExchange::run_chunk() {
  if (state_ == State::Reading) return on_body(), kChunkBytes;
  if (state_ != State::Answering) return 0;
  if (buffer_at_ == buffer_.size() && fill() == 0) {
    exchange_->finish();
    return end(), 0;
  }
  const Bytes rest = Bytes(buffer_).subspan(buffer_at_);
  const std::size_t n = exchange_->write(rest);
  if (n > 0) timer_.set(loop_.now() + limits::kHttpResponseStall);
  buffer_at_ += n;
  if (n == rest.size()) run_later();  // else on_writable
  return n;
}

// The next piece, if there is any.
std::size_t NodeExchange::fill() {
  buffer_at_ = 0;
  if (!text_.empty()) {
    buffer_.assign(text_.begin(), text_.end());
    text_.clear();
    return buffer_.size();
  }
  if (reply_) {
    buffer_.resize(std::min<std::size_t>(kChunkBytes, std::max<std::size_t>(
        node::ReplyWriter::kRoomMin, static_cast<std::size_t>(reply_->size()))));
    buffer_.resize(reply_->read(buffer_));
    if (buffer_.empty()) reply_.reset();
    return buffer_.size();
  }
  if (squeezed_at_ < squeezed_.size()) {
    const Bytes in = Bytes(squeezed_).subspan(
        squeezed_at_, std::min(squeezed_.size() - squeezed_at_, kChunkBytes / 4 * 3));
    buffer_.resize(codec::base64_size(in.size()));
    codec::base64_encode(in, reinterpret_cast<char*>(buffer_.data()));
    squeezed_at_ += in.size();
    return buffer_.size();
  }
  buffer_.assign(suffix_.begin(), suffix_.end());
  suffix_.clear();
  return buffer_.size();
}

void NodeExchange::give_back() { site_.give_back(std::exchange(counted_, 0)); }

void NodeExchange::on_gone(const Error&) {
  if (job_ != nullptr) site_.node_.cancel(*std::exchange(job_, nullptr));
  end();
}

void NodeExchange::end() { site_.exchanges_.erase(*this); }

}  // namespace adit::service
