#include "crypto/tls_context.h"

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "crypto/certificate.h"
#include "crypto/init.h"
#include "crypto/key.h"
#include "crypto/key_file.h"
#include "crypto/pem.h"

#ifndef WOLFSSL_ALWAYS_VERIFY_CB
#error "the host name is checked in the verify callback, which must also see good certificates"
#endif

namespace adit::crypto {
namespace {

constexpr std::size_t kRootsBytesMax = 8 * 1024 * 1024;
constexpr std::size_t kHostNameMax = 253;
constexpr std::size_t kProtocolNamesMax = 10;  // WOLFSSL_MAX_ALPN_NUMBER

// Debian and Alpine, Fedora, SUSE, and the path that OpenSSL documents.
constexpr std::array kSystemRoots = {
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

struct ContextFree {
  void operator()(WOLFSSL_CTX* context) const { wolfSSL_CTX_free(context); }
};
using Context = std::unique_ptr<WOLFSSL_CTX, ContextFree>;

std::string quoted_names(const Certificate& certificate) {
  std::string out;
  std::size_t count = 0;
  for (const std::string& name : certificate.subject_names()) {
    if (++count > 4) return out + ", ...";  // a shared host may have hundreds
    out += (out.empty() ? "" : ", ") + name;
  }
  for (const IpAddress& address : certificate.subject_addresses()) {
    if (++count > 4) return out + ", ...";
    out += (out.empty() ? "" : ", ") + address.text();
  }
  return out.empty() ? "no host at all" : out;
}

// "2026-01-31 12:00 UTC"
std::string date_text(std::int64_t seconds) {
  using namespace std::chrono;
  const sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss time(at - day);
  char out[48];
  std::snprintf(out, sizeof out, "%04d-%02u-%02u %02d:%02d UTC", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()));
  return out;
}

// With the date: whoever reads it sees whether that or this machine's clock is wrong.
std::string date_problem(const WOLFSSL_X509_STORE_CTX* store, bool early) {
  const std::string now = " (is this machine's clock right?)";
  const int at = store->error_depth;
  const bool there = at >= 0 && at < store->totalCerts;
  const auto found = there ? Certificate::from_der({store->certs[at].buffer,
                                                    store->certs[at].length})
                           : Result<Certificate>(Error{0, "not shown"});
  if (!found) return (early ? "is not valid yet" : "has expired") + now;
  return (early ? "is not valid before " + date_text(found->not_before())
                : "has expired on " + date_text(found->not_after())) + now;
}

// Why a chain is refused, for people who have to mend it.
std::string chain_problem(const WOLFSSL_X509_STORE_CTX* store) {
  const int code = store->error;
  const std::string which = store->error_depth == 0 ? "it" : "a certificate of its chain";
  switch (code) {
    case ASN_NO_SIGNER_E:
    case ASN_SELF_SIGNED_E:
      return which + " was issued by an authority that is not trusted here";
    case ASN_AFTER_DATE_E:
      return which + " " + date_problem(store, false);
    case ASN_BEFORE_DATE_E:
      return which + " " + date_problem(store, true);
    case ASN_SIG_CONFIRM_E:
      return which + " carries a wrong signature";
    case EXTKEYUSE_AUTH_E:
    case KEYUSE_SIGNATURE_E:
      return which + " is not meant for this use";
    default:
      return which + " is broken: " + wolfSSL_ERR_reason_error_string(
                                          static_cast<unsigned long>(static_cast<long>(code)));
  }
}

PeerCheck* check_of(const WOLFSSL_X509_STORE_CTX* store) {
  return static_cast<PeerCheck*>(store->userCtx);
}

// Called for the leaf in any case, for the rest of the chain where something is wrong. 1 accepts.
int verify_web_pki(int ok, WOLFSSL_X509_STORE_CTX* store) {
  PeerCheck* check = check_of(store);
  if (check == nullptr) return 0;  // not made by new_session: no host to compare with
  if (!ok) {
    if (check->problem.empty()) check->problem = chain_problem(store);
    return 0;
  }
  if (store->error_depth != 0) return 1;
  const auto leaf = Certificate::from_der({store->certs[0].buffer, store->certs[0].length});
  if (!leaf) {
    check->problem = leaf.error().what;
    return 0;
  }
  if (leaf->is_for(check->host)) return 1;
  check->problem = "it is for " + quoted_names(*leaf) + ", not for " + check->host;
  return 0;
}

// Who vouches for the leaf, and when, does not matter where the key is the identity. All else does,
// and so does an error further up: a certificate with isCA that passes there would join the
// context's trusted ones.
int verify_any(int ok, WOLFSSL_X509_STORE_CTX* store) {
  if (ok) return 1;
  if (store->error_depth == 0) {
    switch (store->error) {
      case ASN_NO_SIGNER_E:
      case ASN_SELF_SIGNED_E:
      case ASN_BEFORE_DATE_E:
      case ASN_AFTER_DATE_E:
        return 1;
      default:
        break;
    }
  }
  if (PeerCheck* check = check_of(store); check != nullptr && check->problem.empty()) {
    check->problem = chain_problem(store);
  }
  return 0;
}

Status set_common(WOLFSSL_CTX* context, bool tls13_only) {
  // X25519 first: the one that a client sends a share for.
  std::array<int, 3> groups = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};
  const std::string ciphers(cipher_order());
  if (wolfSSL_CTX_SetMinVersion(context, tls13_only ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2) !=
          WOLFSSL_SUCCESS ||
      wolfSSL_CTX_set_cipher_list(context, ciphers.c_str()) != WOLFSSL_SUCCESS ||
      wolfSSL_CTX_set_groups(context, groups.data(), static_cast<int>(groups.size())) !=
          WOLFSSL_SUCCESS) {
    return Error{EINVAL, "the TLS library lacks an algorithm that is needed"};
  }
  // No resumption: a resumed session shows no certificate, and the library's session cache is one
  // table with one lock for all threads.
  wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
  CHECK(wolfSSL_CTX_NoTicketTLSv12(context) == WOLFSSL_SUCCESS);
  return {};
}

Status set_identity(WOLFSSL_CTX* context, std::string_view chain_pem, std::string_view key_pem) {
  // Parsed here for the sake of the error text; the library says "-132".
  auto chain = parse_chain_pem(chain_pem);
  if (!chain) return std::move(chain).error();
  auto key = PrivateKey::from_pem(key_pem);
  if (!key) return std::move(key).error();
  if (wolfSSL_CTX_use_certificate_chain_buffer(
          context, reinterpret_cast<const unsigned char*>(chain_pem.data()),
          static_cast<long>(chain_pem.size())) != WOLFSSL_SUCCESS) {
    return Error{EINVAL, "the TLS library refuses the certificate"};
  }
  const Bytes der = key->pkcs8_der();
  // The library's check refuses every certificate with a critical extension that it does not know,
  // as challenges of ACME have. It is asked where an encoding may differ and the key not (RSA).
  const bool same = std::ranges::equal(chain->front().spki_der(), key->public_key_spki_der());
  if (wolfSSL_CTX_use_PrivateKey_buffer(context, der.data(), static_cast<long>(der.size()),
                                        WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS ||
      (!same && wolfSSL_CTX_check_private_key(context) != WOLFSSL_SUCCESS)) {
    return Error{EINVAL, "the private key does not belong to the certificate"};
  }
  return {};
}

Result<std::string> protocol_list(const std::vector<std::string>& names) {
  if (names.size() > kProtocolNamesMax) return Error{EINVAL, "too many ALPN names"};
  std::string out;
  for (const std::string& name : names) {
    // The library takes a comma separated list.
    if (name.empty() || name.size() > 255 || name.find(',') != name.npos) {
      return Error{EINVAL, "\"" + name + "\" cannot be an ALPN name"};
    }
    out += (out.empty() ? "" : ",") + name;
  }
  return out;
}

Result<std::string> read_roots(const std::string& file) {
  if (!file.empty()) return read_file(file, kRootsBytesMax);
  for (const char* path : kSystemRoots) {
    auto text = read_file(path, kRootsBytesMax);
    if (text || text.error().code != ENOENT) return text;
  }
  return Error{ENOENT,
               "no bundle of root certificates on this system; install ca-certificates, or name a "
               "PEM file"};
}

Status load_roots(WOLFSSL_CTX* context, const std::string& file) {
  auto text = read_roots(file);
  if (!text) return std::move(text).error().with("root certificates");
  auto blocks = parse_pem(*text).with(file.empty() ? "root certificates" : file);
  if (!blocks) return std::move(blocks).error();
  std::size_t found = 0, loaded = 0;
  for (const PemBlock& block : *blocks) {
    if (block.label != "CERTIFICATE" && block.label != "TRUSTED CERTIFICATE") continue;
    ++found;
    // One that the library refuses (expired, of an algorithm it lacks) must not cost the others.
    loaded += wolfSSL_CTX_load_verify_buffer(context, block.der.data(),
                                             static_cast<long>(block.der.size()),
                                             WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
  }
  if (loaded == 0) {
    const std::string which = file.empty() ? "the system's root certificates" : file;
    return Error{EINVAL, which + (found == 0 ? ": no PEM block with a certificate"
                                             : ": no root certificate that can be used (is the "
                                               "clock right?)")};
  }
  return {};
}

}  // namespace

void NativeFree::operator()(WOLFSSL* ssl) const { wolfSSL_free(ssl); }

TlsContext::TlsContext(WOLFSSL_CTX* native, bool is_server, std::string alpn, bool checks_host)
    : native_(native),
      is_server_(is_server),
      checks_host_(checks_host),
      alpn_(std::move(alpn)) {}

TlsContext::TlsContext(TlsContext&& o) noexcept
    : native_(std::exchange(o.native_, nullptr)),
      is_server_(o.is_server_),
      checks_host_(o.checks_host_),
      alpn_(std::move(o.alpn_)) {}

TlsContext& TlsContext::operator=(TlsContext&& o) noexcept {
  std::swap(native_, o.native_);
  std::swap(is_server_, o.is_server_);
  std::swap(checks_host_, o.checks_host_);
  std::swap(alpn_, o.alpn_);
  return *this;
}

TlsContext::~TlsContext() {
  if (native_ != nullptr) wolfSSL_CTX_free(native_);
}

Result<TlsContext> TlsContext::server(const ServerTls& options) {
  init();
  const bool tls13_only = options.tls13_only || options.request_client_certificate;
  Context context(
      wolfSSL_CTX_new(tls13_only ? wolfTLSv1_3_server_method() : wolfTLS_server_method()));
  if (context == nullptr) return Error{ENOMEM, "no memory for a TLS context"};
  if (Status set = set_common(context.get(), tls13_only); !set) return std::move(set).error();
  CHECK(wolfSSL_CTX_no_ticket_TLSv13(context.get()) == 0);
  Status identity =
      set_identity(context.get(), options.certificate_chain_pem, options.private_key_pem);
  if (!identity) return std::move(identity).error();
  auto alpn = protocol_list(options.alpn);
  if (!alpn) return std::move(alpn).error();
  if (options.request_client_certificate) {
    wolfSSL_CTX_set_verify(context.get(), WOLFSSL_VERIFY_PEER, verify_any);
  } else {
    wolfSSL_CTX_set_verify(context.get(), WOLFSSL_VERIFY_NONE, nullptr);
  }
  return TlsContext(context.release(), true, std::move(*alpn), false);
}

Result<TlsContext> TlsContext::client(const ClientTls& options) {
  init();
  const bool web_pki = options.verify == Verify::WebPki;
  const bool tls13_only = options.tls13_only || !web_pki;
  Context context(
      wolfSSL_CTX_new(tls13_only ? wolfTLSv1_3_client_method() : wolfTLS_client_method()));
  if (context == nullptr) return Error{ENOMEM, "no memory for a TLS context"};
  if (Status set = set_common(context.get(), tls13_only); !set) return std::move(set).error();
  if (!options.certificate_chain_pem.empty() || !options.private_key_pem.empty()) {
    Status identity =
        set_identity(context.get(), options.certificate_chain_pem, options.private_key_pem);
    if (!identity) return std::move(identity).error();
  }
  if (web_pki) {
    Status roots = load_roots(context.get(), options.roots_pem_file);
    if (!roots) return std::move(roots).error();
  }
  auto alpn = protocol_list(options.alpn);
  if (!alpn) return std::move(alpn).error();
  wolfSSL_CTX_set_verify(context.get(), WOLFSSL_VERIFY_PEER,
                         web_pki ? verify_web_pki : verify_any);
  return TlsContext(context.release(), false, std::move(*alpn), web_pki);
}

Result<NativeTls> TlsContext::new_session(std::string_view host, std::string_view hint) const {
  CHECK(native_ != nullptr);
  // The DNS root's dot belongs neither into SNI nor into a comparison.
  while (host.ends_with('.')) host.remove_suffix(1);
  if (checks_host_ && host.empty()) return Error{EINVAL, "no host name to check"};
  if (host.size() > kHostNameMax) return Error{EINVAL, "a host name over 253 characters"};

  NativeTls out;
  out.check = std::make_unique<PeerCheck>(PeerCheck{std::string(host), {}});
  out.ssl.reset(wolfSSL_new(native_));
  if (out.ssl == nullptr) return Error{ENOMEM, "no memory for a TLS session"};
  WOLFSSL* ssl = out.ssl.get();
  wolfSSL_SetCertCbCtx(ssl, out.check.get());
  wolfSSL_KeepArrays(ssl);  // for export_keying_material
  if (!alpn_.empty()) {
    std::string list = alpn_;
    if (!hint.empty()) list += "," + std::string(hint);
    if (wolfSSL_UseALPN(ssl, list.data(), static_cast<unsigned>(list.size()),
                        WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS) {
      return Error{EINVAL, "the TLS library refuses the ALPN names " + alpn_};
    }
  }
  // RFC 6066 §3: literal addresses are not permitted in SNI.
  if (!is_server_ && !host.empty() && !IpAddress::parse(host)) {
    if (wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, host.data(),
                       static_cast<unsigned short>(host.size())) != WOLFSSL_SUCCESS) {
      return Error{EINVAL, "the TLS library refuses the name " + std::string(host)};
    }
  }
  return out;
}

bool has_hardware_aes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & (HWCAP_AES | HWCAP_PMULL)) == (HWCAP_AES | HWCAP_PMULL);
#else
  return false;
#endif
}

std::string_view cipher_order() {
  [[maybe_unused]] static constexpr std::string_view kAesFirst =
      "TLS13-AES128-GCM-SHA256:TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES256-GCM-SHA384:"
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
  static constexpr std::string_view kChachaFirst =
      "TLS13-CHACHA20-POLY1305-SHA256:TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:"
      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
  // What the CPU can does not help where the library was built without it: its AES in plain C is
  // slower than ChaCha20.
#if defined(WOLFSSL_AESNI) || defined(WOLFSSL_ARMASM)
  return has_hardware_aes() ? kAesFirst : kChachaFirst;
#else
  return kChachaFirst;
#endif
}

}  // namespace adit::crypto
