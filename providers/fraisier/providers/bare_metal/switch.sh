# Goes with ground.sh and service.sh: from one release to another, forward and back.

do_activate() {
  begin
  staged "$release" || refuse 66 "$release is not staged here"
  look_back
  find_running
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
  look_back
  find_running
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
  if [ ! -L "$root/current" ] && [ ! -s "$state/unsettled" ] && [ -z "${switched_to#-}" ]; then
    record 0 unchanged
    return
  fi
  if [ ! -L "$root/current" ] && [ "$switched_to $switched_by" = "- $step" ]; then
    : >"$state/unsettled"
    record 1 stopped
    return
  fi
  flush_token
  if [ -n "$unit" ]; then
    stop_unit
    leave_units ''
    if [ -n "$gone" ]; then systemctl_ daemon-reload; fi
  elif [ -L "$root/current" ]; then # or nothing was started, or it was stopped already
    command_of "$running" stop
    stop_service "$text" ''
  fi
  rm -f "$root/current"
  note stop -
  flush "$root" "$state/effects"
  : >"$state/unsettled"
  record 1 stopped
}

# switch_to NAME WHAT: point to the release and start the service out of it.
switch_to() {
  command_of "$running" stop
  own=$text
  if [ "$2" = activate ]; then
    if [ -z "$unit" ]; then keep_commands "$1"; fi
    keep_units "$1"
  fi
  if [ -n "$unit" ]; then check_units "$1"; fi
  write_line "$state/unsettled" "$step"
  # With the token, before anything is done.
  if [ "$2" = activate ] && [ -z "$unit" ]; then
    flush "$state/unsettled" "$state" "$state/commands/$1.start" "$state/commands/$1.stop" "$state/commands"
  else
    flush "$state/unsettled" "$state"
  fi
  # What is told of a failure shall be of this switch.
  if [ -z "$unit" ] && [ -s "$state/service.log" ]; then mv -f "$state/service.log" "$state/service.log.old"; fi
  if [ -z "$unit" ] && [ -L "$root/current" ]; then
    # What cannot be stopped must not keep the good release from coming back; going forward it must.
    stop_service "$own" "$1" || { why=$?; [ "$2" = rollback ] || exit "$why"; }
  fi
  if [ -n "$unit" ]; then leave_units "$1"; fi
  point_current "$1"
  if [ -n "$unit" ]; then take_units "$1" "$running"; fi
  start_service "$1"
  note "$2" "$1"
  flush "$root" "$state/effects"
  : >"$state/unsettled"
}
