#!/usr/bin/env bash
# Validates every Compose file with a Compose tool's `config`, which needs no container engine.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
if docker compose version >/dev/null 2>&1; then
	compose=(docker compose)
elif command -v docker-compose >/dev/null; then
	compose=(docker-compose)
else
	printf 'compose: no Compose tool: run `make deps`, or install docker-compose\n' >&2
	exit 1
fi
status=0
for file in *.yaml; do
	if "${compose[@]}" -f "$file" config >/dev/null; then
		printf 'compose: %s is valid\n' "$file"
	else
		printf 'compose: %s is not valid\n' "$file" >&2
		status=1
	fi
done
exit "$status"
