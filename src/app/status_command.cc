#include "app/status_command.h"

#include <cerrno>
#include <charconv>
#include <utility>

#include "io/unix_socket.h"

namespace adit::app {
namespace {

// An agent is some 300 bytes; a relay has at most some 100,000 of them.
constexpr std::size_t kAnswerBytesMax = std::size_t{64} << 20;
// The relay's own deadlines are shorter, so that what it says about them arrives.
constexpr Duration kPatience = limits::kAdminAnswerDeadline + limits::kAdminHeadDeadline;

struct Reply {
  int code = 0;
  std::string body;
};

// What our own server sends: a status line, and a body up to the end.
Result<Reply> parse_reply(std::string_view text) {
  constexpr std::string_view kStart = "HTTP/1.1 ";
  Reply out;
  const std::size_t end = text.find("\r\n\r\n");
  const auto digits = text.substr(0, end).substr(0, kStart.size() + 3);
  if (end == std::string_view::npos || !text.starts_with(kStart) ||
      std::from_chars(digits.data() + kStart.size(), digits.data() + digits.size(), out.code).ec !=
          std::errc{}) {
    return Error{EPROTO, "what answers there is no relay"};
  }
  out.body = text.substr(end + 4);
  const std::string length = "\r\nContent-Length: " + std::to_string(out.body.size()) + "\r\n";
  if (text.substr(0, end + 2).find(length) == std::string_view::npos) {
    return Error{EPROTO, "the answer is cut off: has the relay ended?"};
  }
  return out;
}

Answer unreachable(const std::string& path, const Error& error) {
  switch (error.code) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
      return {exit_code::kRelayUnreachable, {},
              "adit: no relay answers on " + path + " (is it running? --admin PATH)\n"};
    case EACCES:
    case EPERM:
      return {exit_code::kRelayUnreachable, {},
              "adit: " + path + " belongs to another user: run this as the relay's user or root\n"};
    case EAGAIN:
    case ETIMEDOUT:
      return {exit_code::kTryAgain, {},
              "adit: the relay on " + path + " does not answer in time\n"};
    default:
      return {exit_code::kRelayUnreachable, {}, "adit: " + error.what + "\n"};
  }
}

Answer ask(const std::string& path, std::string_view request_line) {
  const std::string question = std::string(request_line) + " HTTP/1.1\r\nHost: adit\r\n\r\n";
  auto said = io::ask_unix(path, question, {kPatience, kAnswerBytesMax});
  if (!said) return unreachable(path, said.error());
  auto reply = parse_reply(*said).with(path);
  if (!reply) return unreachable(path, reply.error());
  if (reply->code == 200) return {exit_code::kDone, std::move(reply->body), {}};
  // 422: the files that it read are at fault; 5xx passes.
  const int code = reply->code == 422   ? exit_code::kConfiguration
                   : reply->code >= 500 ? exit_code::kTryAgain
                                        : exit_code::kRelayUnreachable;
  return {code, {}, std::move(reply->body)};
}

// A machine has a relay, or an agent, or both. JSON is one answer: the relay's, if there is one.
Answer ask_both(const std::string& admin, const std::string& agent_admin, const std::string& page,
                bool json, std::string_view between) {
  Answer relay = ask(admin, page);
  if (agent_admin.empty()) return relay;
  const bool no_relay = relay.exit_code == exit_code::kRelayUnreachable;
  if (json && !no_relay) return relay;
  Answer agent = ask(agent_admin, page);
  if (agent.exit_code == exit_code::kRelayUnreachable) {
    if (no_relay && relay.err.find("is it running") != relay.err.npos)
      relay.err = "adit: no relay answers on " + admin + ", no agent on " + agent_admin +
                  " (is it running? --admin PATH)\n";
    return relay;
  }
  if (no_relay || relay.exit_code != exit_code::kDone) return no_relay ? agent : relay;
  agent.out = relay.out + std::string(between) + agent.out;
  return agent;
}

}  // namespace

Answer run(const StatusCommand& command) {
  return ask_both(command.admin, command.agent, command.json ? "GET /status" : "GET /status.txt",
                  command.json, "\n");
}

Answer run(const ReloadCommand& command) {
  Answer answer = ask(command.admin, command.dry_run ? "POST /reload/dry-run" : "POST /reload");
  // Standard output stays empty where nothing was asked for but the deed.
  if (!command.dry_run) answer.err += std::exchange(answer.out, {});
  return answer;
}

Answer run(const AgentsCommand& command) {
  if (command.kick.empty())
    return ask(command.admin, command.json ? "GET /agents" : "GET /agents.txt");
  Answer answer = ask(command.admin, "POST /agents/kick/" + command.kick);
  if (answer.exit_code == exit_code::kDone && answer.out.ends_with("has no session here\n"))
    answer.exit_code = exit_code::kRefused;
  answer.err += std::exchange(answer.out, {});
  return answer;
}

Answer run(const ExplainCommand& command) {
  return ask_both(command.admin, command.agent,
                  (command.json ? "GET /explain/" : "GET /explain.txt/") + command.what,
                  command.json, "\nat the agent of this machine:\n");
}

}  // namespace adit::app
