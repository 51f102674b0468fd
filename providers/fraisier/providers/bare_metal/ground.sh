# One step of a rollout on this host: sh -c "$THIS" fraisier VERB name=value...
#
# Whatever acts takes the lock, compares the fencing token, looks whether this very step was done before, acts, notes
# the effect and leaves the step's marker, all under the lock. So an attempt that was thought dead cannot act after
# its successor, and a repeated step returns what the first one recorded. It runs to its end without its connection.
#
# Under the root:   releases/<version>-<digest>/   current -> releases/<version>-<digest>
#   .fraisier/      lock, hooks.lock, holder, token, steps/<step>, releases/<name>, commands/<name>.start and .stop,
#                   migrations/<database>.<name>.<phase>, effects, unsettled, incoming/<pid>, service.log, hook.log
#
# Answers are lines that begin with "fraisier ". Refusals are answers too, with the exit status: 64 no such step, 65 wrong digest, 66 no such release, 69 a tool is
# missing, 73 the lock is held, 75 stale token, 78 something is in the way; any other is that of the command that failed.
set -eu
trap : HUP PIPE
umask 022
LC_ALL=C
export LC_ALL

unit='' sudo=no start='' stop='' hook='' phase='' mark='' release='' box=''
verb=$1
shift
for pair; do
  value=${pair#*=}
  case $pair in
    root=*) root=$value ;;
    step=*) step=$value ;;
    generation=*) generation=$value ;;
    ordinal=*) ordinal=$value ;;
    attempt=*) attempt=$value ;;
    release=*) release=$value ;;
    version=*) version=$value ;;
    digest=*) digest=$value ;;
    keep=*) keep=$value ;;
    need_kb=*) need_kb=$value ;;
    unit=*) unit=$value ;;
    sudo=*) sudo=$value ;;
    start=*) start=$value ;;
    stop=*) stop=$value ;;
    hook=*) hook=$value ;;
    phase=*) phase=$value ;;
    mark=*) mark=$value ;;
    lock_wait=*) lock_wait=$value ;;
    time_limit=*) time_limit=$value ;;
  esac
done
state=$root/.fraisier

say() { printf 'fraisier %s\n' "$*"; }

refuse() {
  status=$1
  shift
  printf '%s\n' "$*" >&2
  say "refused $status"
  exit "$status"
}

# The last answer: without it nobody knows how the step ended, whatever the status that arrived.
farewell() {
  status=$?
  [ -z "$box" ] || rm -rf "$box"
  say "ended $status"
}
trap farewell EXIT

has() { command -v "$1" >/dev/null 2>&1; }

# --- files that survive a power cut -------------------------------------------------------------------------------

flush() { sync "$1" 2>/dev/null || sync; }

write_file() {
  printf '%s\n' "$2" >"$1.new"
  flush "$1.new"
  mv -f "$1.new" "$1"
  flush "${1%/*}"
}

# --- the lock: the kernel's, so that it cannot outlive its holder ---------------------------------------------------

# try_lock DESCRIPTOR
try_lock() {
  if has flock; then flock -n "$1"
  elif has perl; then perl -e 'open(my $lock, ">&=", $ARGV[0]) or exit 1; exit(flock($lock, 2 | 4) ? 0 : 1)' "$1"
  elif has python3; then
    python3 -c 'import fcntl, sys; fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)' "$1" 2>/dev/null
  else refuse 69 'this host has none of flock, perl and python3, one of which must take the lock: install one'
  fi
}

# wait_for_lock DESCRIPTOR
wait_for_lock() {
  waited=0
  until try_lock "$1"; do
    [ "$waited" -lt "$lock_wait" ] || refuse 73 "another step holds the lock: $(cat "$state/holder" 2>/dev/null)"
    sleep 1
    waited=$((waited + 1))
  done
}

lock() {
  exec 9>>"$state/lock"
  wait_for_lock 9
  printf '%s, process %s\n' "$step" "$$" >"$state/holder"
}

unlock() { exec 9>&-; }

# --- who may act, and what was done ---------------------------------------------------------------------------------

prepare() {
  mkdir -p "$root/releases"
  [ -d "$state" ] || mkdir -m 700 "$state" 2>/dev/null || [ -d "$state" ]
  mkdir -p "$state/steps" "$state/releases" "$state/commands" "$state/incoming" "$state/migrations"
}

fence() {
  seen_generation=0 seen_ordinal=0 seen_attempt=0
  if [ -f "$state/token" ]; then
    read -r seen_generation seen_ordinal seen_attempt <"$state/token"
  fi
  newer=$((generation - seen_generation))
  [ "$newer" -ne 0 ] || newer=$((ordinal - seen_ordinal))
  [ "$newer" -ne 0 ] || newer=$((attempt - seen_attempt))
  if [ "$newer" -lt 0 ]; then
    refuse 75 "a newer attempt was here: $seen_generation.$seen_ordinal.$seen_attempt"
  fi
  # Markers of an older generation guard nothing: the token refuses their steps before they are looked at.
  if [ "$generation" -gt "$seen_generation" ]; then rm -f "$state/steps/"*; fi
  if [ "$newer" -gt 0 ]; then write_file "$state/token" "$generation $ordinal $attempt"; fi
}

begin() {
  prepare
  lock
  fence
  if [ -f "$state/steps/$step" ]; then
    say "done $(cat "$state/steps/$step")"
    exit 0
  fi
}

# record 0|1 DETAIL: the step is done, and whether it changed anything.
record() {
  write_file "$state/steps/$step" "$*"
  say "done $*"
}

# note WHAT NAME: one line an effect.
note() {
  printf '%s %s.%s.%s %s %s %s\n' "$(date +%s)" "$generation" "$ordinal" "$attempt" "$step" "$1" "$2" \
    >>"$state/effects"
  flush "$state/effects"
}

# --- releases -------------------------------------------------------------------------------------------------------

current() {
  link=$(readlink "$root/current" 2>/dev/null) || return 0
  case $link in releases/*) printf '%s\n' "${link#releases/}" ;; esac
}

staged() { [ -f "$state/releases/$1" ] && [ -d "$root/releases/$1" ]; }

# The last switch of the service: its step and the release.
last_switch() {
  [ -f "$state/effects" ] || return 0
  awk '$4 == "activate" || $4 == "rollback" || $4 == "stop" { last = $3 " " $5 } END { print last }' "$state/effects"
}

# Whether the service was last started, completely, out of this release.
settled() {
  [ "$(current)" = "$1" ] || return 1
  switched=$(last_switch)
  [ "${switched#* }" = "$1" ] || return 1
  [ ! -f "$state/unsettled" ] || [ "$(cat "$state/unsettled")" = "${switched% *}" ]
}

# Names of what is kept, last activated first, then what was only staged.
kept() {
  {
    if [ -f "$state/effects" ]; then
      awk '$4 == "activate" || $4 == "rollback" { line[++n] = $5 } END { for (; n; n--) print line[n] }' "$state/effects"
    fi
    ls -t "$state/releases"
  } | awk '!seen[$0]++' | while read -r name; do
    if staged "$name"; then printf '%s\n' "$name"; fi
  done
}

digest_of() {
  if has sha256sum; then sha256sum <"$1"
  elif has shasum; then shasum -a 256 <"$1"
  else openssl dgst -sha256 -r <"$1"
  fi | cut -c 1-64
}

point_current() {
  rm -f "$state/current.new"
  ln -s "releases/$1" "$state/current.new"
  # One rename(2), whatever this system calls it: a reader sees the old release or the new one, never none.
  mv -T "$state/current.new" "$root/current" 2>/dev/null ||
    mv -h "$state/current.new" "$root/current" 2>/dev/null ||
    perl -e 'rename($ARGV[0], $ARGV[1]) or die "$ARGV[1]: $!\n"' "$state/current.new" "$root/current"
  flush "$root"
}
