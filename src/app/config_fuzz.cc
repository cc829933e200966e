// Whatever loads prints, and loads back to the same; nothing else may happen.

#include <cstddef>
#include <cstdint>

#include "app/config.h"
#include "base/bytes.h"
#include "base/check.h"

namespace {

using namespace adit::app;

template <class Config, class Parse>
void check(std::string_view text, const Parse& parse) {
  const Environment environment{{{"HOME", "/h"}}, false};
  const Loaded<Config> first = parse(text, ConfigSources{"f.toml", {}}, environment);
  for (const ConfigError& error : first.errors) CHECK(!error.text().empty());
  if (!first) return;
  for (const PrintMode mode : {PrintMode::Effective, PrintMode::Changed}) {
    const Loaded<Config> second =
        parse(print(first.config, mode, environment), ConfigSources{"f.toml", {}}, environment);
    CHECK(second.errors.empty());
    CHECK(second.config == first.config);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = adit::as_text({data, size});
  guess_config_kind(text);
  check<RelayConfig>(text, parse_relay_config);
  check<AgentConfig>(text, parse_agent_config);
  return 0;
}
