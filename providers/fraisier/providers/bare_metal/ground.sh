# One step of a rollout on this host: sh -c "$THIS" fraisier VERB name=value... (this and what the verb needs of the
# other .sh files, each of which has do_VERB or what that is made of)
#
# Whatever acts takes the lock, compares the fencing token, looks whether this very step was done before, acts, notes
# the effect and leaves the step's marker, all under the lock. So an attempt that was thought dead cannot act after
# its successor, and a repeated step returns what the first one recorded. It runs to its end without its connection.
# A power cut may take a marker away, but neither an effect that was answered for nor the token that it was done under.
#
# Under the root:   releases/<version>-<digest>/   current -> releases/<version>-<digest>
#   shared/         what releases have in common
#   .fraisier/      lock, hooks.lock, holder, token, steps/<step>, releases/<name>, commands/<name>.start and .stop,
#                   units/<name>, migrations/<database>.<name>.<phase>, files/<name>, effects, unsettled, incoming/<pid>,
#                   service.log, hook.log
#
# Answers are lines that begin with "fraisier ". Refusals are answers too, with the exit status: 65 wrong digest, 66 no such release, 69 a tool is
# missing, 73 the lock is held, 75 stale token, 78 something is in the way; any other is that of the command that failed.
set -eu
trap : HUP PIPE
umask 022
LC_ALL=C
export LC_ALL

unit='' scope=system sudo=no units='' start='' stop='' hook='' phase='' mark='' release='' box=''
environment='' shared_folders='' shared_files='' tied=no watching='' now='' grace=5 new_token=''
switched_at='' switched_by='' switched_to='' names='' removed=0
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
    scope=*) scope=$value ;;
    sudo=*) sudo=$value ;;
    units=*) units=$value ;;
    environment=*) environment=$value ;;
    shared_folders=*) shared_folders=$value ;;
    shared_files=*) shared_files=$value ;;
    start=*) start=$value ;;
    stop=*) stop=$value ;;
    hook=*) hook=$value ;;
    phase=*) phase=$value ;;
    mark=*) mark=$value ;;
    tied=*) tied=$value ;;
    lock_wait=*) lock_wait=$value ;;
    time_limit=*) time_limit=$value ;;
  esac
done
state=$root/.fraisier
newline='
'

say() { printf 'fraisier %s\n' "$*"; }

refuse() {
  status=$1
  shift
  printf '%s\n' "$*" >&2
  say "refused $status"
  exit "$status"
}

# The last answer: without it nobody knows how the step ended, whatever the status that arrived. What fails while the
# host goes down was cut off by that, and says nothing of the step.
farewell() {
  status=$?
  [ -z "$box" ] || discard "$box"
  if [ "$status" != 0 ]; then
    flush_token
    if goes_down; then exit "$status"; fi
  fi
  say "ended $status"
}

goes_down() { [ -n "$unit" ] && [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; }
trap farewell EXIT

# --- files that survive a power cut -------------------------------------------------------------------------------
# Every process costs about a millisecond, a hundred times over where a hundred hosts share a machine: the shell reads
# and writes small files itself, and one sync flushes whatever belongs together.

# flush FILE...: and with them the token, where it is new.
flush() {
  if [ -n "$new_token" ]; then set -- "$@" "$state/token" "$state"; fi
  sync "$@" 2>/dev/null || sync
  token_is_flushed
}

# discard FOLDER: also one with folders in it that not even their owner may enter.
discard() {
  rm -rf "$1" 2>/dev/null || { chmod -R u+rwX "$1" 2>/dev/null || :; rm -rf "$1" || :; }
}

# write_line FILE TEXT: not flushed yet. What a power cut leaves of it has no end, and read_line takes it for nothing.
write_line() { printf '%s\n' "$2" >"$1"; }

# read_line FILE: into `line`; fails where there is no whole one.
read_line() {
  line=''
  [ -f "$1" ] && IFS= read -r line <"$1"
}

# read_text FILE: into `text`, without its last newline; nothing where there is no file.
read_text() {
  text=''
  [ -f "$1" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do text="$text$newline$line"; done <"$1"
  text=${text#"$newline"}
}

# replace_line FILE TEXT: the old line or the new one, whatever happens.
replace_line() {
  write_line "$1.new" "$2"
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
  if [ -d "$root/releases" ] && [ -d "$state/steps" ] && [ -d "$state/releases" ] && [ -d "$state/commands" ] &&
    [ -d "$state/incoming" ] && [ -d "$state/units" ] && [ -d "$state/migrations" ] && [ -d "$state/files" ]; then return; fi
  mkdir -p "$root/releases"
  (umask 077 && mkdir -p "$state/steps" "$state/releases" "$state/commands" "$state/units" "$state/incoming" \
    "$state/migrations" "$state/files")
}

# The highest token that was seen, as `seen_…`: the last whole line of a file that grows.
read_token() {
  seen_generation=0 seen_ordinal=0 seen_attempt=0 seen=0 torn=''
  [ -f "$state/token" ] || return 0
  while read -r one two three; do
    seen_generation=$one seen_ordinal=$two seen_attempt=$three seen=$((seen + 1))
  done <"$state/token"
  torn=$one
}

fence() {
  read_token
  newer=$((generation - seen_generation))
  [ "$newer" -ne 0 ] || newer=$((ordinal - seen_ordinal))
  [ "$newer" -ne 0 ] || newer=$((attempt - seen_attempt))
  if [ "$newer" -lt 0 ]; then
    refuse 75 "a newer attempt was here: $seen_generation.$seen_ordinal.$seen_attempt"
  fi
  if [ "$newer" -gt 0 ]; then keep_token; fi
}

# keep_token: into `new_token`, whether its generation is new too. Not flushed yet: the next flush takes it along.
keep_token() {
  if [ "$seen" -gt 100 ] || [ -n "$torn" ]; then
    replace_line "$state/token" "$generation $ordinal $attempt"
  else
    printf '%s\n' "$generation $ordinal $attempt" >>"$state/token"
  fi
  new_token=same
  if [ "$generation" -gt "$seen_generation" ]; then new_token=newer; fi
}

# Before anything is done or answered that no older attempt may follow.
flush_token() { if [ -n "$new_token" ]; then flush; fi; }

token_is_flushed() {
  # Markers of an older generation guard nothing: the token refuses their steps before they are looked at.
  if [ "$new_token" = newer ]; then forget_steps; fi
  new_token=''
}

# What is older, as its id tells: `stage` forgets without the lock, and a newer attempt may have been here meanwhile.
forget_steps() {
  set --
  for marker in "$state/steps"/*; do
    of=${marker##*/} of=${of#*.} of=${of%%.*}
    case $of in '' | *[!0-9]*) continue ;; esac
    if [ "$of" -lt "$generation" ]; then set -- "$@" "$marker"; fi
  done
  [ $# -eq 0 ] || rm -f "$@"
}

begin() {
  prepare
  lock
  fence
  if read_line "$state/steps/$step"; then
    flush_token
    say "done $line"
    exit 0
  fi
}

# record 0|1 DETAIL: the step is done, and whether it changed anything. Whatever it did is flushed by then, and found by
# a repetition that misses the marker. Only that a hook has ended stands nowhere else.
record() {
  flush_token
  write_line "$state/steps/$step" "$*"
  if [ "$verb" = hook ]; then flush "$state/steps/$step" "$state/steps"; fi
  say "done $*"
}

# note WHAT NAME: one line an effect, not flushed yet. A step's first one comes after an empty line, for what a power cut
# left of a line is not the begin of this one.
note() {
  if [ -z "$now" ]; then
    now=$(date +%s)
    if [ -s "$state/effects" ]; then echo >>"$state/effects"; fi
  fi
  printf '%s %s.%s.%s %s %s %s\n' "$now" "$generation" "$ordinal" "$attempt" "$step" "$1" "$2" >>"$state/effects"
}

# --- releases -------------------------------------------------------------------------------------------------------

# The release that `current` points to, into `running`; after look_back, if that is needed too. Another link to the same
# folder is as good, though `inspect` tells of it.
find_running() {
  running=''
  [ -L "$root/current" ] || return 0
  if [ "$verb" != inspect ] && [ -n "$switched_to" ] && [ "$root/current" -ef "$root/releases/$switched_to" ]; then
    running=$switched_to
    return
  fi
  link=$(readlink "$root/current") || return 0
  case $link in releases/*) running=${link#releases/} ;; esac
}

# staged NAME: whether it is whole; then `line` has its version and digest.
staged() { [ -d "$root/releases/$1" ] && read_line "$state/releases/$1"; }

# Reads the log of effects, unless that was done: the last switch of the service into `switched_at`, `switched_by` (a step) and
# `switched_to`; the names of releases into `names`, last activated first, then what was only staged.
look_back() {
  [ -z "$switched_at" ] && [ -f "$state/effects" ] || return 0
  names=$(awk '
    NF != 5 { next }
    $4 == "activate" || $4 == "rollback" || $4 == "stop" { last = $1 " " $3 " " $5 }
    $4 == "activate" || $4 == "rollback" { ran[++n] = $5 }
    $4 == "stage" { came[++m] = $5 }
    END {
      print (last == "" ? "- - -" : last)
      for (; n; n--) if (!seen[ran[n]]++) print ran[n]
      for (; m; m--) if (!seen[came[m]]++) print came[m]
    }' "$state/effects")
  # shellcheck disable=SC2086 # words, none of which holds a space
  set -- $names
  switched_at=$1 switched_by=$2 switched_to=$3
  shift 3
  names=$*
}

# settled NAME: whether the service was last started, completely, out of this release.
settled() {
  [ "$running" = "$1" ] && [ "$switched_to" = "$1" ] || return 1
  [ ! -s "$state/unsettled" ] || { read_line "$state/unsettled" && [ "$line" = "$switched_by" ]; }
}

# Names of what is kept, in the order of `names`, into `kept`.
find_kept() {
  kept=''
  for marker in "$state/releases"/*; do names="$names ${marker##*/}"; done
  for name in $names; do
    case " $kept " in *" $name "*) continue ;; esac
    if staged "$name"; then kept="$kept $name"; fi
  done
}

# point_current NAME: not flushed yet
point_current() {
  if [ -L "$state/current.new" ]; then rm "$state/current.new"; fi
  ln -s "releases/$1" "$state/current.new"
  # One rename(2), whatever this system calls it: a reader sees the old release or the new one, never none.
  mv -T "$state/current.new" "$root/current" 2>/dev/null ||
    mv -h "$state/current.new" "$root/current" 2>/dev/null ||
    perl -e 'rename($ARGV[0], $ARGV[1]) or die "$ARGV[1]: $!\n"' "$state/current.new" "$root/current"
}

# After find_running.
in_the_way() { { [ -e "$root/current" ] || [ -L "$root/current" ]; } && [ -z "$running" ]; }

# For what is done elsewhere, such as at a proxy: done again by a retry, and so without a marker.
do_fence() {
  prepare
  lock
  fence
  flush_token
  say 'done 0 fenced'
}
