#!/usr/bin/env bash
# Installs the tools that the checks and the reports use beside Go: kcat (a Kafka client that is not ours), a Compose tool
# (validates compose/), Chromium (looks at the report as a reader would). It is `make deps`.
#
# As root on a system with apt it installs what is missing. Otherwise it prints the one command that would, and stops with
# status 1.
set -euo pipefail

have() {
	case $1 in
	docker-compose) command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=()
for tool in kcat docker-compose chromium; do
	if have "$tool"; then
		printf 'deps: %s is there\n' "$tool"
	else
		missing+=("$tool") # the package is named like the program
	fi
done
if ((${#missing[@]} == 0)); then exit 0; fi

if ! command -v apt-get >/dev/null; then
	printf 'deps: missing: %s\ndeps: there is no apt-get here: install them with your system'"'"'s package manager\n' "${missing[*]}" >&2
	exit 1
fi
command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
if ((EUID != 0)); then
	printf 'deps: missing: %s\ndeps: run as root:\n  %s\n' "${missing[*]}" "$command" >&2
	exit 1
fi
printf 'deps: installing %s\n' "${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
for tool in kcat docker-compose chromium; do
	if ! have "$tool"; then
		printf 'deps: %s is still missing after its installation\n' "$tool" >&2
		exit 1
	fi
done
