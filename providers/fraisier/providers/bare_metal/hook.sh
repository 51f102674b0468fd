# Goes with ground.sh: commands of the manifest, among them migrations.

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
  flush_token
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
