# What people do with this repository: `make run`, `make test`, `make install`, `make deb`, `make bench`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

PREFIX ?= /usr/local
CARGO ?= cargo
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
SHOAL := $(TARGET_DIR)/release/shoal
# Tests that run at once: most of the black-box ones wait most of the time.
TEST_THREADS ?= 6
# What the kinds of tests said, for the summary.
UNIT_LOG := $(TARGET_DIR)/test-unit.log
GUARD_LOG := $(TARGET_DIR)/test-guard.log
BLACKBOX_LOG := $(TARGET_DIR)/test-blackbox.log

# The binary's programs that get a link of their own name.
PROGRAMS := nsqd nsqlookupd nsqadmin nsq_tail

# Besides these, tests need packages; as root `make test` installs the missing ones.
TOOLCHAINS := cargo cc go node python3
# Each is the command that is looked for, and the package that has it.
APT_PACKAGES := git:git openssl:openssl npm:npm ensurepip:python3-venv ip:iproute2 chromium:chromium \
	valgrind:valgrind strace:strace

.PHONY: build run test test-long test-needs lint unit guard guard-record blackbox install deb manual \
	bench bench-parts clean

build:
	$(CARGO) build --release --locked

run: build
	exec $(SHOAL)

test: test-needs lint unit guard blackbox
	@clients=$$(cd tests/clients && ls $(CLIENTS) 2>/dev/null | cut -d/ -f1 | paste -sd ' ') || true
	echo
	echo "make test: everything passed"
	echo "  lint        rustfmt, clippy$$(command -v cargo-deny >/dev/null && echo ', cargo-deny')"
	echo "  unit        $$(awk $(COUNT) $(UNIT_LOG))"
	echo "  guard       $$(awk $(COUNT) $(GUARD_LOG))"
	echo "  black box   $$(awk $(COUNT) $(BLACKBOX_LOG))"
	echo "  clients     $$clients"

# The sum of what the test binaries report.
COUNT := '/^test result:/ { passed += $$4; ignored += $$8 } \
	END { printf "%d passed, %d ignored", passed, ignored }'
# What setup leaves of each client library.
CLIENTS := go/bin/client python/.venv/.stamp gnsq/.venv/.stamp js/node_modules/.stamp \
	rust/target/debug/shoal-client-tokio-nsq java/classes/.stamp

# Says what is missing, or installs it where that is allowed.
test-needs:
	@for tool in $(TOOLCHAINS); do
	    command -v $$tool >/dev/null || { echo "make test needs $$tool" >&2; exit 1; }
	done
	missing=()
	for need in $(APT_PACKAGES); do
	    case $${need%%:*} in
	    ensurepip) python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=($${need##*:}) ;;
	    *) command -v $${need%%:*} >/dev/null || missing+=($${need##*:}) ;;
	    esac
	done
	if (($${#missing[@]} == 0)); then
	    exit 0
	fi
	if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
	    echo "make test needs these packages: $${missing[*]}" >&2
	    exit 1
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"

lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	if command -v cargo-deny >/dev/null; then $(CARGO) deny check; fi

unit:
	mkdir -p $(TARGET_DIR)
	$(CARGO) test --workspace --exclude shoal-tests --exclude parts --locked \
	    --no-fail-fast 2>&1 | tee $(UNIT_LOG)

# What a message costs in instructions and allocations: counted, so no neighbour disturbs it.
guard:
	mkdir -p $(TARGET_DIR)
	CARGO_INCREMENTAL=0 $(CARGO) test -p parts --profile guard --locked --no-fail-fast 2>&1 | tee $(GUARD_LOG)

# Where more, or less, is meant: perf/parts/recorded.txt as it is now.
guard-record:
	CARGO_INCREMENTAL=0 PARTS_RECORD=1 $(CARGO) test -q -p parts --profile guard --locked --test instructions

# The built binary, from outside, and with the clients that people use.
blackbox: build
	tests/clients/setup
	tests/page/setup
	SHOAL_BIN=$(SHOAL) $(CARGO) test -p shoal-tests --locked -- \
	    --test-threads=$(TEST_THREADS) 2>&1 | tee $(BLACKBOX_LOG)

# What takes minutes, or measures: not part of `make test`.
test-long: build
	SHOAL_BIN=$(SHOAL) $(CARGO) test -p shoal-tests --locked -- --ignored --test-threads=1

install: build
	install -D -m 755 $(SHOAL) $(DESTDIR)$(PREFIX)/bin/shoal
	for program in $(PROGRAMS); do
	    ln -sfn shoal $(DESTDIR)$(PREFIX)/bin/$$program
	done

# The Debian package, in $(TARGET_DIR).
deb: build
	packaging/debian/build $(SHOAL) $(TARGET_DIR)

# Manual pages and completions of shells, from the tables of flags.
manual:
	SHOAL_WRITE_MANUAL=1 $(CARGO) test -q -p shoal --locked --bin shoal config::manual

# Every row, beside the floor and, for example, BENCH="--peer /usr/local/bin/nsqd". The figures go
# to perf/results; BENCH="--no-results --rows mpub,pub" is for a look while something is changed.
bench: build
	$(CARGO) build --release --locked -p perf
	$(TARGET_DIR)/release/perf --shoal $(SHOAL) $(BENCH)

# The parts of a shard without a kernel: parser, delivery, wheel, mailbox, log.
bench-parts:
	$(CARGO) bench --locked -p perf --bench shard -- $(BENCH)

clean:
	$(CARGO) clean

# A recipe is one script, so that its loops can be read; the steps of `test` keep their order.
.ONESHELL:
.NOTPARALLEL:
