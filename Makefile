# Every target sets up what it needs in .venv; a second run finds it there.
SHELL := /bin/bash
PYTHON ?= python3
V := .venv/bin
STAMP := .venv/.installed
BENCH_STAMP := .venv-bench/.installed
SUPPLY := .venv-supply/bin
SUPPLY_STAMP := .venv-supply/.installed
HELM := .tools/helm-3.22.0/helm
KUBECTL_VALIDATE := .tools/kubectl-validate-0.0.4/kubectl-validate
COMPOSE := .tools/compose-go-2.16.2/cmd

.PHONY: demo test lint bench adversarial differential test-deploy test-page bench-worker chaos rights broker wheel sbom audit-deps lock format clean fuzz alerts

demo: $(STAMP)
	$(V)/lethe demo

# In two processes: one waits for brokers, the other computes. ARGS="tests/test_rules.py -k aws"
test: $(STAMP)
	$(V)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: $(STAMP)
	$(V)/ruff format --check .
	$(V)/ruff check .
	$(V)/mypy
	$(V)/lethe policy lint

bench: $(STAMP)
	$(V)/python bench/core.py
	$(V)/python bench/detect.py
	$(V)/python bench/store.py

# Texts made to be slow, beside benign ones of the same size; fails where one takes more than five times as long.
# ARGS="--only Names --stages 2"
adversarial: $(STAMP)
	$(V)/python bench/adversarial.py $(ARGS)

# Mutated inputs for every reader and server, for ten minutes: none may crash, hang, leak or grow. ARGS="--seconds 60"
fuzz: $(STAMP)
	$(V)/python tests/fuzz.py $(ARGS)

# What is in deploy/: alert rules, checked and shown to fire; the dashboard's queries; Prometheus' configuration, compose
# files, units, and the chart.
# promtool and systemd-analyze are Debian's (prometheus, systemd); the rest is built once with Go, into .tools.
test-deploy: $(STAMP) $(HELM) $(KUBECTL_VALIDATE) $(COMPOSE)
	@command -v promtool >/dev/null || { echo "promtool is missing: apt-get install prometheus"; exit 1; }
	promtool check rules deploy/prometheus/lethe.rules.yml
	promtool test rules deploy/prometheus/lethe.rules.test.yml
	mkdir -p build && $(V)/python deploy/grafana/dashboard.py --rules > build/panels.yml && promtool check rules build/panels.yml
	promtool check config deploy/prometheus/prometheus.yml
	for files in deploy/local-kafka/compose.yml docker-compose.yml "docker-compose.yml docker-compose.tls.yml"; do \
	  $(COMPOSE) --no-interpolation $$files >/dev/null || exit 1; done
	@command -v systemd-analyze >/dev/null || { echo "systemd-analyze is missing: apt-get install systemd"; exit 1; }
	systemd-analyze verify deploy/systemd/*.service deploy/systemd/*.timer
	$(V)/python deploy/helm/check.py $(HELM) $(KUBECTL_VALIDATE) promtool
	@$(MAKE) --no-print-directory test-page

# A folder for each version, so that another one is built anew.
$(HELM): MODULE = helm.sh/helm/v3/cmd/helm@v3.22.0
$(KUBECTL_VALIDATE): MODULE = sigs.k8s.io/kubectl-validate@v0.0.4
$(COMPOSE): MODULE = github.com/compose-spec/compose-go/v2/cmd@v2.16.2
$(HELM) $(KUBECTL_VALIDATE) $(COMPOSE):
	@command -v go >/dev/null || { echo "go is missing: install Go 1.26 or newer"; exit 1; }
	GOBIN=$(CURDIR)/$(@D) go install $(MODULE)

# The policy page in a real browser, by keyboard alone: Debian has it in its packages chromium and chromium-driver.
# ARGS="docs/images" takes the pictures anew.
test-page: $(STAMP)
	@command -v chromedriver >/dev/null || { echo "chromedriver is missing: apt-get install chromium chromium-driver"; exit 1; }
	$(V)/python tests/page_in_chromium.py $(ARGS)

# Findings beside those of a stock Presidio, over generated texts. ARGS="--texts 5000 --seconds 60 --seed 2"
differential: $(STAMP)
	$(V)/python tests/differential.py $(ARGS)

# Alerts in a real Prometheus: a worker is killed, its detector broken, the broker's disk filled. As root: it mounts a small
# tmpfs. ARGS="--picture docs/images/prometheus.png" takes one, with chromium.
alerts: $(STAMP)
	$(V)/python tests/alerts_run.py $(ARGS)

# lethe's worker beside other stream processors, on a real broker. ARGS="--only core --rounds 1"
bench-worker: $(STAMP) $(BENCH_STAMP)
	$(V)/python bench/worker/compare.py $(ARGS)

# Ten minutes of kills: two workers, three brokers, 300,000 events, and then every id is accounted for.
# ARGS="--seconds 60 --rate 300 --seed 7"
chaos: $(STAMP)
	$(V)/python bench/chaos.py $(ARGS)

# Twenty erasures among 50,000 events of 200 accounts, while events flow and the archive is killed; row by row.
# ARGS="--events 5000 --erasures 3"
rights: $(STAMP)
	$(V)/python tests/rights_harness.py $(ARGS)

# A real Kafka broker for trying things, in the foreground; Ctrl-C ends it.
# ARGS="--port 9093 --brokers 3 --data FOLDER --quick"
# DOCKER=1 takes it from its image instead, at 127.0.0.1:9092.
broker: $(if $(DOCKER),,$(STAMP))
	@$(if $(DOCKER),docker compose -f deploy/local-kafka/compose.yml up,$(V)/python deploy/local-kafka/broker.py start $(ARGS))

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "lethe needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(V)/python || $(PYTHON) -m venv .venv
	$(V)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	$(V)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(STAMP)

# The peers' packages are no dependencies of lethe's: they have a virtual environment of their own.
$(BENCH_STAMP): requirements/bench.lock
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --require-hashes -r requirements/bench.lock
	touch $(BENCH_STAMP)

$(SUPPLY_STAMP): requirements/supply.lock
	test -x $(SUPPLY)/python || $(PYTHON) -m venv .venv-supply
	$(SUPPLY)/python -m pip install --quiet --require-hashes -r requirements/supply.lock
	touch $(SUPPLY_STAMP)

# What a release is made of. Built twice, under another umask, time zone and hash seed: the same bytes, or it fails.
WHEEL = SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(V)/python -m pip wheel --quiet --no-deps --no-build-isolation .
wheel: $(STAMP)
	rm -rf build/first build/second && mkdir -p build/first build/second dist
	umask 022 && TZ=UTC PYTHONHASHSEED=1 $(WHEEL) -w build/first
	umask 077 && TZ=Asia/Tokyo PYTHONHASHSEED=2 $(WHEEL) -w build/second
	cmp build/first/*.whl build/second/*.whl && cp build/first/*.whl dist/ && sha256sum dist/*.whl

# The bill of materials of the runtime lock, as CycloneDX 1.6, held to the schema of that.
sbom: $(SUPPLY_STAMP)
	mkdir -p dist
	$(SUPPLY)/cyclonedx-py requirements requirements/runtime.lock --pyproject pyproject.toml \
	  --output-format JSON --spec-version 1.6 --output-reproducible --validate --output-file dist/lethe.cdx.json
	@$(SUPPLY)/python -c 'import json, re; \
	  found = {c["name"] for c in json.load(open("dist/lethe.cdx.json"))["components"]}; \
	  locked = set(re.findall(r"^([\w.-]+)==", open("requirements/runtime.lock").read(), re.M)); \
	  assert found == locked, found ^ locked; print(f"dist/lethe.cdx.json: {len(found)} packages, as locked")'

# Known vulnerabilities of what is locked. --strict: a package that nothing is known about fails it, it does not pass.
audit-deps: $(SUPPLY_STAMP)
	@$(SUPPLY)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements/runtime.lock \
	  || { echo "audit-deps: not passed: something is vulnerable, or could not be looked up (the lines above say which)"; exit 1; }

# The lock names no registry: whichever index the machine is set up with serves it, and the hashes decide.
lock:
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 pyproject.toml -o requirements/runtime.lock
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 --extra embedded --extra ner --group dev -c requirements/runtime.lock pyproject.toml -o requirements/dev.lock
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 --extra embedded -c requirements/dev.lock pyproject.toml -o requirements/embedded.lock
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 -c requirements/dev.lock requirements/build.in -o requirements/build.lock
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 requirements/bench.in -o requirements/bench.lock
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 requirements/supply.in -o requirements/supply.lock

format: $(STAMP)
	$(V)/ruff format .
	$(V)/ruff check --fix .

clean:
	rm -rf .venv .venv-bench .venv-supply .tools build dist lethe-demo
