# The second half of the script that ground.sh begins: the service, and the verbs.

# --- the service ----------------------------------------------------------------------------------------------------

# In a subshell, which becomes the command: a hung one must not hold the lock for ever. perl first, since timeout puts
# the service into a process group.
limited() {
  if has perl; then exec perl -e 'alarm shift; exec @ARGV or die "$ARGV[0]: $!\n"' "$time_limit" "$@"
  elif has timeout; then exec timeout "$time_limit" "$@"
  else exec "$@"
  fi
}

# The descriptor of the lock is closed for whatever may live on.
systemctl_() {
  if [ "$sudo" = yes ]; then (limited sudo -n systemctl "$@") 9>&-; else (limited systemctl "$@") 9>&-; fi
}

command_() {
  [ -n "$1" ] || return 0
  (cd "$root" && limited sh -c "$1") >>"$state/service.log" 2>&1 </dev/null 9>&- && return 0
  status=$?
  tail -n 20 "$state/service.log" >&2
  return "$status"
}

# start_service NAME: out of that release, which `current` points to.
start_service() {
  if [ -n "$unit" ]; then
    if systemctl is-failed --quiet "$unit"; then systemctl_ reset-failed "$unit"; fi
    systemctl_ restart "$unit" || {
      failed=$?
      journalctl --unit "$unit" --lines 20 --no-pager --output cat >&2 2>/dev/null || :
      return "$failed"
    }
  else
    command_ "$(command_of "$1" start)"
  fi
}

# stop_service OWN OTHER: with no unit, by what runs' own stop command, and where that fails by another one.
stop_service() {
  if [ -n "$unit" ]; then
    systemctl_ stop "$unit"
    return
  fi
  command_ "$1" || {
    failed=$?
    [ "$1" != "$2" ] && command_ "$2" || return "$failed"
  }
}

# A release keeps the commands that it was activated with: they bring it back, whatever a later manifest says.
keep_commands() {
  [ -z "$unit" ] || return 0
  if [ -f "$state/commands/$1.stop" ]; then
    keep_command "$1.start" "$start"
    keep_command "$1.stop" "$stop"
  else
    write_line "$state/commands/$1.start" "$start"
    write_line "$state/commands/$1.stop" "$stop"
    flush "$state/commands/$1.start" "$state/commands/$1.stop" "$state/commands"
  fi
}

keep_command() {
  [ "$(cat "$state/commands/$1" 2>/dev/null)" = "$2" ] || replace_line "$state/commands/$1" "$2"
}

# command_of RELEASE start|stop: the release's own, or the given one where it kept none.
command_of() {
  if [ -f "$state/commands/$1.$2" ]; then cat "$state/commands/$1.$2"
  elif [ "$2" = start ]; then printf '%s\n' "$start"
  else printf '%s\n' "$stop"
  fi
}

service_is_up() { [ -z "$unit" ] || systemctl is-active --quiet "$unit"; }

# switch_to NAME WHAT: point to the release and start the service out of it.
switch_to() {
  write_line "$state/unsettled" "$step"
  flush "$state/unsettled" "$state"
  own=$(command_of "$running" stop)
  if [ "$2" = activate ]; then keep_commands "$1"; fi
  if [ -z "$unit" ] && [ -L "$root/current" ]; then
    # What cannot be stopped must not keep the good release from coming back; going forward it must.
    stop_service "$own" "$(command_of "$1" stop)" || { why=$?; [ "$2" = rollback ] || exit "$why"; }
  fi
  point_current "$1"
  start_service "$1"
  note "$2" "$1"
  flush "$root" "$state/effects"
  : >"$state/unsettled"
}

# After find_running.
in_the_way() { { [ -e "$root/current" ] || [ -L "$root/current" ]; } && [ -z "$running" ]; }

# --- the verbs ------------------------------------------------------------------------------------------------------

do_stage() {
  begin
  sweep
  if staged "$release"; then
    record 0 already there
    return
  fi
  unlock
  say send
  box=$state/incoming/$$
  mkdir "$box" "$box/tree"
  cat >"$box/artifact"
  digest_of "$box/artifact"
  [ "sha256:$arrived" = "$digest" ] || refuse 65 "what arrived has the digest sha256:$arrived"
  tar -x -z -o -f "$box/artifact" -C "$box/tree"
  rm "$box/artifact"
  sync -f "$box" 2>/dev/null || sync
  lock
  fence
  if staged "$release"; then
    record 0 already there
    return
  fi
  find_running
  [ "$running" != "$release" ] || refuse 78 "$root/current points to $release, which no rollout brought: move it away"
  if [ -e "$root/releases/$release" ]; then rm -rf "$root/releases/$release"; fi
  mv "$box/tree" "$root/releases/$release"
  flush "$root/releases"
  if has find; then find "$root/releases/$release" -type f >"$state/files/$release"; fi
  write_line "$state/releases/$release" "$version $digest"
  note stage "$release"
  flush "$state/releases/$release" "$state/releases" "$state/effects"
  record 1 unpacked
}

# Remove what dead attempts left behind.
sweep() {
  for left in "$state/incoming"/*; do
    if [ -d "$left" ] && ! kill -0 "${left##*/}" 2>/dev/null; then rm -rf "$left"; fi
  done
}

do_activate() {
  begin
  staged "$release" || refuse 66 "$release is not staged here"
  find_running
  look_back
  if in_the_way; then refuse 78 "$root/current is not a link into $root/releases: move it away"; fi
  if settled "$release" && service_is_up; then
    record 0 already active
  else
    switch_to "$release" activate
    record 1 active
  fi
}

do_rollback() {
  begin
  find_running
  look_back
  if in_the_way; then refuse 78 "$root/current is not a link into $root/releases: move it away"; fi
  if [ -z "$release" ]; then
    take_down
  elif ! staged "$release"; then
    refuse 66 "$release is not kept here any more"
  elif settled "$release" && service_is_up; then
    record 0 unchanged
  else
    switch_to "$release" rollback
    record 1 back
  fi
}

take_down() {
  if [ ! -L "$root/current" ] && [ ! -s "$state/unsettled" ]; then
    record 0 unchanged
    return
  fi
  stop_service "$(command_of "$running" stop)" "$stop"
  rm -f "$root/current"
  note stop -
  flush "$root" "$state/effects"
  : >"$state/unsettled"
  record 1 stopped
}

# For what is done elsewhere, such as at a proxy: done again by a retry, and so without a marker.
do_fence() {
  prepare
  lock
  fence
  say 'done 0 fenced'
}

# A hook has a lock of its own, so that the way back need not wait for one that hangs.
do_hook() {
  begin
  unlock
  exec 8>>"$state/hooks.lock"
  wait_for_lock 8
  begin # once more: the attempt that held the lock may have ended it
  if [ -n "$mark" ] && migrated; then return; fi
  unlock
  log=$state/hook.log shown=0
  : >"$log"
  (cd "$root/${release:+releases/$release}" && limited sh -c "$hook") >>"$log" 2>&1 </dev/null 8>&- &
  running=$!
  while kill -0 "$running" 2>/dev/null; do
    sleep 0.2 2>/dev/null || sleep 1
    show_hook
  done
  status=0
  wait "$running" || status=$?
  show_hook
  [ "$status" -eq 0 ] || exit "$status"
  lock
  [ -z "$mark" ] || note_migration
  record 1 ended
}

# A migration runs once for its database and release, whichever rollout asks: its mark outlives the rollout's steps.
migrated() {
  if [ "$phase" = rollback ]; then
    if [ -f "$state/migrations/$mark.expand" ]; then return 1; fi
    record 0 'there is nothing to take back'
  else
    read_line "$state/migrations/$mark.$phase" || return 1
    if [ "$line" = "$step" ]; then record 1 ended; else record 0 'it had run before'; fi
  fi
}

note_migration() {
  if [ "$phase" = rollback ]; then rm -f "$state/migrations/$mark.expand"
  else
    write_line "$state/migrations/$mark.$phase" "$step"
    flush "$state/migrations/$mark.$phase"
  fi
  note "migration-$phase" "$mark"
  flush "$state/migrations" "$state/effects"
}

# What a hook has written since the last look. Whatever it writes, little of it is kept.
show_hook() {
  size=$(($(wc -c <"$log")))
  [ "$size" -gt "$shown" ] || return 0
  tail -c "+$((shown + 1))" "$log" | tail -c 4096 >&2 || :
  shown=$size
  if [ "$size" -gt 1000000 ]; then
    : >"$log"
    shown=0
  fi
}

do_prune() {
  begin
  find_running
  look_back
  find_kept
  removed=0 left=$keep
  for name in $kept; do
    left=$((left - 1))
    if [ "$left" -ge 0 ] || [ "$name" = "$running" ]; then continue; fi
    # The marker first: what is half gone is not there.
    rm -rf "$state/releases/$name" "$state/files/$name" "$state/commands/$name.start" "$state/commands/$name.stop" \
      "$root/releases/$name"
    note prune "$name"
    removed=$((removed + 1))
  done
  if [ "$removed" -gt 0 ]; then flush "$state/effects"; fi
  record "$((removed > 0))" "removed $removed"
}

do_inspect() {
  find_running
  if [ ! -d "$state" ]; then
    if in_the_way; then say "drift $root/current is none of a rollout's links"; fi
    return
  fi
  read_token
  if [ "$seen" -gt 0 ]; then say "token $seen_generation $seen_ordinal $seen_attempt"; fi
  look_back
  find_kept
  for name in $kept; do
    staged "$name"
    say "release $name $line"
  done
  if [ "$verb" = inspect ]; then say_drift; fi
  [ -n "$running" ] || return 0
  say "current $running"
  if settled "$running"; then say "since $switched_at $switched_by"; fi
}

# What is no longer as the last rollout left it; after look_back.
say_drift() {
  left=${switched_to#-}
  if in_the_way; then say "drift $root/current is none of a rollout's links"
  elif [ "$running" != "$left" ]; then
    say "drift $root/current points to ${running:-nothing}; the last rollout left ${left:-nothing}"
  fi
  if [ -s "$state/unsettled" ] && read_line "$state/unsettled" && [ "$line" != "$switched_by" ]; then
    say "drift the step $line was broken off while it switched"
  fi
  [ -n "$running" ] || return 0
  if [ -n "$unit" ] && ! service_is_up; then say "drift the unit $unit is $(systemctl is-active "$unit" 2>&1 || :)"; fi
  if [ -f "$state/files/$running" ] && has find; then say_touched; fi
}

# The files of the running release that were changed or removed since they were unpacked, the first three by name. The
# time of the last change of the inode is what counts: no tool can set it back.
say_touched() {
  folder=$root/releases/$running
  {
    sed 's/^/was /' "$state/files/$running"
    find "$folder" -type f | sed 's/^/is /'
    find "$folder" -type f -cnewer "$state/releases/$running" 2>/dev/null | sed 's/^/new /'
  } | awk -v skip="${#folder}" '
    { file = substr($0, index($0, " ") + skip + 2) }
    $1 == "was" { was[file] }
    $1 == "is" { is[file] }
    $1 == "new" && file in was { tell(file " was changed") }
    END {
      for (file in was) if (!(file in is)) tell(file " is gone")
      if (n > 3) print "fraisier drift in the running release, " n - 3 " more files are not as they were"
    }
    function tell(what) { if (++n <= 3) print "fraisier drift in the running release, " what }'
}

do_preflight() {
  for tool in awk cut ln mkdir mv readlink rm tail tar gzip; do
    has "$tool" || say "problem $tool is not installed"
  done
  has sha256sum || has shasum || has openssl || say 'problem none of sha256sum, shasum and openssl is installed'
  has flock || has perl || has python3 || say 'problem none of flock, perl and python3 is installed, to take the lock'
  there=$root
  while [ ! -d "$there" ]; do there=${there%/*} there=${there:-/}; done
  [ -w "$there" ] || say "problem $(id -un) may not write to $there: create $root and give it to $(id -un)"
  free=$(df -Pk "$there" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$need_kb" ] || say "problem only $free KB are free in $there, and $need_kb KB are needed"
  [ -z "$unit" ] || preflight_unit
  do_inspect
  if in_the_way; then say "problem $root/current is not a link into $root/releases: move it away"; fi
  say 'done 0 looked'
}

preflight_unit() {
  has systemctl || { say 'problem there is no systemctl here, but service_unit was given'; return; }
  loaded=$(systemctl show --property=LoadState "$unit" 2>&1) || :
  [ "$loaded" = LoadState=loaded ] || say "problem the unit $unit is not there: $loaded"
  [ "$sudo" != yes ] || sudo -n -l systemctl restart "$unit" >/dev/null 2>&1 ||
    say "problem $(id -un) may not run systemctl restart $unit with sudo -n: allow it in sudoers"
}

case $verb in
  stage | activate | rollback | fence | hook | prune | inspect | preflight) "do_$verb" ;;
  *) refuse 64 "no such step: $verb" ;;
esac
