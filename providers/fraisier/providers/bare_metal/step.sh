# The last part of the script that ground.sh begins: the verbs.

# --- the verbs ------------------------------------------------------------------------------------------------------

do_stage() {
  prepare
  box=$state/incoming/$$
  # What a dead process of this number has left.
  if [ -e "$box" ]; then rm -rf "$box"; fi
  mkdir "$box"
  read_environment
  begin
  sweep
  if as_it_came "$release"; then
    stay
    return
  fi
  unlock
  receive_artifact
  lock
  fence
  if as_it_came "$release"; then
    stay
    return
  fi
  find_running
  [ "$running" != "$release" ] || refuse 78 "$root/current points to $release, which no rollout brought: move it away"
  if [ -e "$root/releases/$release" ]; then rm -rf "$root/releases/$release"; fi
  mv "$box/tree" "$root/releases/$release"
  flush "$root/releases"
  mark_as_staged
  note stage "$release"
  flush "$state/releases/$release" "$state/releases" "$state/effects"
  record 1 unpacked
}

# as_it_came NAME: it is here, and nobody changed it, or it is what runs and stays as it is.
as_it_came() {
  staged "$1" || return 1
  find_running
  [ "$running" = "$1" ] || [ -z "$(touched "$1")" ]
}

# With the files as they are now: what changes later was changed by hand.
mark_as_staged() {
  find "$root/releases/$release" -type f >"$state/files/$release"
  write_line "$state/releases/$release" "$version $digest"
}

# It is there. What runs stays as it is; any other release is configured as the manifest says now.
stay() {
  find_running
  if [ "$running" != "$release" ]; then
    configure "$root/releases/$release"
    mark_as_staged
    flush "$state/releases/$release"
  fi
  record 0 already there
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
  if [ -n "$unit" ]; then
    stop_unit
    leave_units ''
    if [ -n "$gone" ]; then systemctl_ daemon-reload; fi
  else
    stop_service "$(command_of "$running" stop)" ''
  fi
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
  if [ "$tied" = yes ]; then ask_sender; fi
  log=$state/hook.log shown=0 broken=''
  : >"$log"
  (cd "$root/${release:+releases/$release}" && limited sh -c "$hook") >>"$log" 2>&1 </dev/null &
  running=$!
  if [ "$tied" = yes ]; then end_with_sender; fi
  while kill -0 "$running" 2>/dev/null; do
    sleep 0.2 2>/dev/null || sleep 1
    show_hook
  done
  status=0
  wait "$running" || status=$?
  show_hook all
  [ -z "$watching" ] || kill "$watching" 2>/dev/null || :
  [ "$status" -eq 0 ] || exit "$status"
  # It has ended: whoever holds the lock, that must be on record, or a retry would run it again.
  lock_wait=$time_limit
  lock
  [ -z "$mark" ] || note_migration
  record 1 ended
}

# One whose sender went while this waited must not begin. Whoever was cut off without a word does not answer either.
ask_sender() {
  say send
  (time_limit=15 && limited sh -c 'read -r line') 2>/dev/null ||
    refuse 73 'whoever sent this does not answer any more, so it was not begun'
}

# A command that runs under a lock of whoever sent it must not outlive that: stdin is open as long as the sender is there.
end_with_sender() {
  exec 7<&0
  { read -r line <&7 || kill "$running"; } >/dev/null 2>&1 8>&- &
  watching=$!
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

newline='
'

# What a hook has written since the last look; with an argument, all of the rest. Whatever it writes, little of it is
# kept, and of a line nothing or all: the worker would not know half a secret for one.
show_hook() {
  size=$(($(wc -c <"$log")))
  [ "$size" -gt "$shown" ] || [ $# -gt 0 ] || return 0
  from=$shown rest=''
  if [ "$((size - from))" -gt 4096 ]; then from=$((size - 4096)) broken=yes; fi
  # Some shells drop the zeros, and would count wrong.
  { said=$(tail -c "+$((from + 1))" "$log" | head -c "$((size - from))" | tr '\000' ' '; printf .); } 2>/dev/null
  said=${said%.}
  if [ -n "$broken" ]; then
    case $said in
      *"$newline"*) said=${said#*"$newline"} broken='' ;;
      *) said=${1:+a line of more than 4 KB is not shown} ;;
    esac
  fi
  if [ $# -eq 0 ]; then rest=${said##*"$newline"}; fi
  said=${said%"$rest"}
  printf %s "$said" >&2 || :
  shown=$((size - ${#rest}))
  if [ "$size" -gt 1000000 ]; then forget_shown; fi
}

# What came since the look is lost with it.
forget_shown() {
  if [ -n "$rest" ] || [ "$(($(wc -c <"$log")))" -ne "$size" ]; then broken=yes; fi
  : >"$log"
  shown=0
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
      "$state/units/$name" "$root/releases/$name"
    note prune "$name"
    removed=$((removed + 1))
  done
  if [ "$removed" -gt 0 ]; then flush "$state/effects"; fi
  record "$((removed > 0))" "removed $removed"
}

case $verb in inspect | preflight) ;; *) detach ;; esac
case $verb in
  stage | activate | rollback | fence | hook | prune | inspect | preflight) "do_$verb" ;;
  *) refuse 64 "no such step: $verb" ;;
esac
