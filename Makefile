# Everything starts here; `make help` lists it.

SHELL := /bin/bash
.DELETE_ON_ERROR:

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 600
SEEDS ?= 10000
MINUTES ?= 60

.PHONY: all help packages deps test debug asan tsan arm64 fuzz run bench oci deb images scale churn
.PHONY: sim-seeds clean distclean

all: packages deps  ## build the program: build/adit (the default)
	@scripts/build release

help:  ## this list
	@echo "targets:"
	@sed -nE 's/^([a-z0-9-]+):.*##  ?(.*)/  \1\t\2/p; s/^([a-z0-9-]+):.*## (.*)/  \1\t\2/p' \
	  $(MAKEFILE_LIST) | sort -u | expand -t 14
	@echo "variables: JOBS=$(JOBS) FUZZ_SECONDS=$(FUZZ_SECONDS) SEEDS=$(SEEDS) MINUTES=$(MINUTES)"

packages:  ## install missing distribution packages (root), or say which
	@scripts/packages build

deps:  ## build the libraries of scripts/deps.lock
	@ADIT_JOBS=$(JOBS) scripts/deps $$(dpkg --print-architecture)

test: all  ## every check and test that this machine can run
	@scripts/packages test || echo "tests that need them are skipped"
	@scripts/test release

debug: packages deps  ## build without optimisation, for a debugger
	@scripts/build debug

asan: packages deps  ## the same tests with AddressSanitizer and UBSan
	@scripts/build asan
	@scripts/test asan

tsan: packages deps  ## the same tests with ThreadSanitizer
	@scripts/build tsan
	@scripts/test tsan

arm64:  ## cross build: build/adit-arm64, unit tests under qemu-user
	@scripts/packages build arm64
	@ADIT_JOBS=$(JOBS) scripts/deps arm64
	@scripts/build arm64
	@if [ -f build/adit-arm64 ]; then scripts/check_arm64_crypto.sh build/adit-arm64; fi
	@scripts/test arm64

fuzz: packages deps  ## each fuzz target for FUZZ_SECONDS
	@scripts/packages build fuzz
	@scripts/build fuzz
	@scripts/fuzz $(FUZZ_SECONDS)

run: all  ## start a relay and an agent on this machine
	@scripts/run

bench: all  ## measure against others (perf/run)
	@scripts/packages perf
	@perf/run

oci: all arm64  ## container image for amd64 and arm64: build/images/adit-oci.tar
	@image/oci --amd64 build/adit --arm64 build/adit-arm64 --out build/images/adit-oci.tar \
	  --version "$$(build/adit --version | cut -d' ' -f2)" --revision "$$(git rev-parse HEAD)"

deb: all arm64  ## Debian packages for amd64 and arm64 in build/images
	@for arch in amd64:build/adit arm64:build/adit-arm64; do \
	  image/deb --arch $${arch%:*} --program $${arch#*:} --out build/images \
	    --version "$$(build/adit --version | cut -d' ' -f2)" || exit 1; done

images: oci deb  ## all of them, with SBOMs and SHA256SUMS (signed with MINISIGN_KEY=FILE)
	@image/release build/images --version "$$(build/adit --version | cut -d' ' -f2)" \
	  $(if $(MINISIGN_KEY),--key $(MINISIGN_KEY))

scale: all  ## memory of 1,000 links and 10,000 streams, and a relay that restarts under them
	@ADIT_BIN=$(CURDIR)/build/adit tests/net/t_scale_slow

churn: all  ## everything comes and goes for MINUTES; memory and descriptors stay
	@ADIT_BIN=$(CURDIR)/build/adit ADIT_CHURN_MINUTES=$(MINUTES) tests/net/t_churn_slow

sim-seeds: all  ## the simulator with SEEDS seeds
	ADIT_SIM_SEEDS=$(SEEDS) build/release/sim_test --gtest_filter='*Seeds*'

clean:  ## remove what was built, keep the libraries
	rm -rf build/release build/debug build/asan build/tsan build/fuzz build/arm64 build/headers
	rm -f build/adit build/adit-arm64

distclean:  ## remove everything, sources of the libraries too
	rm -rf build
