#!/usr/bin/env bash
# Obtains the coordination servers that tests and trials run: etcd, Consul, ZooKeeper. It is `make servers`.
#
#   obtain.sh [etcd|zookeeper|consul ...]      all three when none is named
#
# They go to ${REGENCY_CACHE:-$HOME/.cache/regency}/servers/<name>-<version>/. What is there is left alone. A server is
# made under a temporary name and renamed when it is whole, so an interrupted run never leaves one that looks finished.
# A server that cannot be had is named with the reason and the remedy; the exit status is then 0, or 1 with CI=true or
# STRICT=1. ZooKeeper comes by Maven, else from ZOOKEEPER_HOME, else from the Debian package libzookeeper-java.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${REGENCY_CACHE:-$HOME/.cache/regency}/servers
logs=$cache/logs
missing=()
child=

cleanup() {
	if [[ -n $child ]]; then kill -- "-$child" 2>/dev/null || true; fi
	rm -rf "$cache"/*/.*.new."$$" "$cache"/*.new."$$"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf 'servers: %s\n' "$*"; }

absent() { # name reason remedy
	missing+=("$1")
	printf 'servers: %s is absent: %s\nservers:   remedy: %s\n' "$1" "$2" "$3" >&2
}

# run_logged LOG COMMAND...: runs it in a process group of its own and says every half minute how long it has taken.
run_logged() {
	local log=$1 start=$SECONDS next=30 status=0
	shift
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	child=$!
	set +m
	while kill -0 "$child" 2>/dev/null; do
		sleep 1
		if ((SECONDS - start >= next)); then
			say "  … $((SECONDS - start)) s"
			next=$((next + 30))
		fi
	done
	wait "$child" || status=$?
	child=
	return "$status"
}

go_ready() { # name
	if ! command -v go >/dev/null; then
		absent "$1" "there is no go on PATH" "install Go 1.26 or newer, then run this again"
		return 1
	fi
}

# build_tool NAME PACKAGE MODULE ESTIMATE: builds a program from the pinned module in the directory NAME beside this file.
build_tool() {
	local name=$1 package=$2 module=$3 estimate=$4 version dir new log
	go_ready "$name" || return 0
	if ! version=$(cd "$here/$name" && GOWORK=off go list -m -f '{{.Version}}' "$module"); then
		absent "$name" "bench/servers/$name/go.mod does not give a version of $module" "restore that file"
		return 0
	fi
	dir=$cache/$name-$version
	if [[ -x $dir/$name ]]; then
		say "$name $version is there: $dir/$name"
		return 0
	fi
	mkdir -p "$dir" "$logs"
	new=$dir/.$name.new.$$
	log=$logs/$name-$version.log
	say "$name $version: building ($estimate); log: $log"
	if ! run_logged "$log" env GOWORK=off go build -C "$here/$name" -trimpath -o "$new" "$package"; then
		tail -n 5 "$log" >&2
		rmdir "$dir" 2>/dev/null || true
		absent "$name" "the build failed; its last lines are above, all of it in $log" \
			"see that 'go env GOPROXY' names a module proxy that this machine reaches and that the disk has 3 GB free, then run this again"
		return 0
	fi
	mv "$new" "$dir/$name"
	say "$name $version is ready: $dir/$name"
}

zookeeper_maven() { # version directory: 1 when it cannot be done, with the reason in $reason
	local new=$2.new.$$ log=$logs/zookeeper-$1.log
	if ! command -v mvn >/dev/null; then
		reason="there is no mvn on PATH"
		return 1
	fi
	mkdir -p "$logs"
	say "zookeeper $1: copying its jars with Maven (about 15 s); log: $log"
	if ! run_logged "$log" mvn -B -f "$here/zookeeper/pom.xml" \
		org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
		"-DoutputDirectory=$new/lib" -DincludeScope=runtime; then
		grep -m 3 ERROR "$log" >&2 || true
		reason="Maven did not get its jars, see $log"
		return 1
	fi
	if [[ ! -e $new/lib/zookeeper-$1.jar ]]; then
		reason="Maven left no zookeeper-$1.jar, see $log"
		return 1
	fi
	mv "$new" "$2"
}

# link_zookeeper VERSION JAR...: a directory of links to jars that someone else keeps.
link_zookeeper() {
	local dir=$cache/zookeeper-$1 new=$cache/zookeeper-$1.new.$$ jar
	shift
	mkdir -p "$new/lib"
	for jar in "$@"; do
		if [[ -e $jar ]]; then ln -s "$jar" "$new/lib/"; fi
	done
	rm -rf "$dir"
	mv "$new" "$dir"
	say "zookeeper is ready, by links to installed jars: $dir"
}

zookeeper_installed() {
	local jar version java=/usr/share/java
	if [[ -n ${ZOOKEEPER_HOME:-} ]]; then
		for jar in "$ZOOKEEPER_HOME"/lib/zookeeper-[0-9]*.jar "$ZOOKEEPER_HOME"/zookeeper-[0-9]*.jar; do
			[[ -e $jar ]] || continue
			version=${jar##*/zookeeper-}
			link_zookeeper "${version%.jar}-home" "$ZOOKEEPER_HOME"/lib/*.jar "$ZOOKEEPER_HOME"/*.jar
			return 0
		done
		say "ZOOKEEPER_HOME=$ZOOKEEPER_HOME holds no zookeeper-<version>.jar"
	fi
	for jar in "$java"/zookeeper-[0-9]*.jar; do
		[[ -e $jar ]] || continue
		version=${jar##*/zookeeper-}
		link_zookeeper "${version%.jar}-debian" "$java"/{zookeeper,zookeeper-jute,slf4j-api,slf4j-simple}.jar \
			"$java"/{metrics-core,snappy-java,commons-cli,commons-io,audience-annotations}.jar "$java"/netty-*.jar
		return 0
	done
	return 1
}

obtain_zookeeper() {
	local version dir reason=
	version=$(sed -n 's:.*<zookeeper.version>\(.*\)</zookeeper.version>.*:\1:p' "$here/zookeeper/pom.xml")
	dir=$cache/zookeeper-$version
	if [[ ! -x ${JAVA_HOME:-}/bin/java ]] && ! command -v java >/dev/null; then
		absent zookeeper "there is no java, neither in JAVA_HOME nor on PATH" "install a Java 11 or newer runtime, then run this again"
		return 0
	fi
	if [[ -e $dir/lib/zookeeper-$version.jar ]]; then
		say "zookeeper $version is there: $dir/lib"
	elif zookeeper_maven "$version" "$dir"; then
		say "zookeeper $version is ready: $dir/lib"
	elif ! zookeeper_installed; then
		absent zookeeper "$reason, and neither ZOOKEEPER_HOME nor the Debian package libzookeeper-java is there" \
			"install Maven and let it reach its repository, or install libzookeeper-java, or set ZOOKEEPER_HOME"
	fi
}

main() {
	local wanted=("$@") server
	if ((${#wanted[@]} == 0)); then wanted=(etcd zookeeper consul); fi
	for server in "${wanted[@]}"; do
		case $server in
		etcd | zookeeper | consul) ;;
		*)
			printf 'servers: unknown server %q: choose from etcd, zookeeper, consul\n' "$server" >&2
			exit 2
			;;
		esac
	done
	mkdir -p "$cache"
	# One after the other: both Go builds use every core, and Consul's needs 2 GB of memory.
	for server in "${wanted[@]}"; do
		case $server in
		etcd) build_tool etcd go.etcd.io/etcd/server/v3 go.etcd.io/etcd/server/v3 "about 1 min on 2 cores" ;;
		zookeeper) obtain_zookeeper ;;
		consul) build_tool consul github.com/hashicorp/consul github.com/hashicorp/consul \
			"about 8 min on 2 cores, 400 MB of modules the first time" ;;
		esac
	done
	if ((${#missing[@]} > 0)); then
		say "done without: ${missing[*]}"
		if [[ ${CI:-} == true || ${STRICT:-} == 1 ]]; then exit 1; fi
		return 0
	fi
	say "done"
}

main "$@"
