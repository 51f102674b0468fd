# Goes with ground.sh and touched.sh: what is looked at and never changed.

do_inspect() {
  look_back
  find_running
  if [ ! -d "$state" ]; then
    if in_the_way; then say "drift $root/current is none of a rollout's links"; fi
    return
  fi
  read_token
  if [ "$seen" -gt 0 ]; then say "token $seen_generation $seen_ordinal $seen_attempt"; fi
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
  if [ -n "$unit" ] && ! service_is_up; then say "drift the unit $unit is $(ask_systemd is-active "$unit" 2>&1 || :)"; fi
  touched "$running" 'fraisier drift in the running release, '
}

do_preflight() {
  say "clock $(date +%s)"
  for tool in awk chmod cut dirname find grep ln mkdir mv readlink rm tail tar tr gzip wc; do
    has "$tool" || say "problem $tool is not installed: install it"
  done
  has sha256sum || has shasum || has openssl || say 'problem none of sha256sum, shasum and openssl is installed: install one'
  has flock || has perl || has python3 || say 'problem none of flock, perl and python3 is installed, to take the lock: install one'
  has perl || has timeout || say 'problem neither perl nor timeout is installed, to end what hangs: install one'
  there=$root
  while [ ! -d "$there" ]; do there=${there%/*} there=${there:-/}; done
  [ -w "$there" ] || say "problem $LOGNAME may not write to $there: create $root and give it to $LOGNAME"
  free=$(df -Pk "$there")
  # shellcheck disable=SC2086 # the words of its second line
  set -- ${free#*"$newline"}
  free=$4
  [ "$free" -ge "$need_kb" ] || say "problem only $free KB are free in $there, and $need_kb KB are needed: make room, or give a root elsewhere"
  [ -z "$shared_files" ] || printf '%s\n' "$shared_files" | while IFS= read -r path; do
    [ -z "$path" ] || [ -f "$root/shared/$path" ] || say "problem the shared file $root/shared/$path is not there: put it there"
  done
  [ -z "$unit" ] || preflight_unit
  preflight_login
  do_inspect
  if in_the_way; then say "problem $root/current is not a link into $root/releases: move it away"; fi
  say 'done 0 looked'
}

preflight_unit() {
  has systemctl || { say 'problem there is no systemctl here, but service_unit was given: give start_command and stop_command'; return; }
  if [ "$scope" = user ]; then
    lingers || say "problem user units end with the last login of $LOGNAME: loginctl enable-linger $LOGNAME"
  fi
  loaded=$(ask_systemd show --property=LoadState "$unit" 2>&1) || :
  # One that comes with the release need not be there yet.
  case $loaded:$units in
    LoadState=loaded:* | LoadState=not-found:?*) ;;
    *) say "problem the unit $unit is not there ($loaded): install it, or let the release bring it by units" ;;
  esac
  [ "$sudo" = yes ] || return 0
  for word in restart stop reset-failed; do may_systemctl "$word" "$unit"; done
  if [ -n "$units" ]; then may_systemctl daemon-reload; fi
}

may_systemctl() {
  sudo -n -l systemctl "$@" >/dev/null 2>&1 ||
    say "problem $LOGNAME may not run systemctl $* with sudo -n: allow it in sudoers"
}

# Some hosts end what a login has left behind, a step that lost its connection too.
preflight_login() {
  if [ -d /run/systemd/system ] && has busctl && ! lingers; then
    ended=$(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager \
      KillUserProcesses 2>/dev/null) || ended=''
    [ "$ended" != 'b true' ] ||
      say "problem this host ends a step that loses its connection (KillUserProcesses): loginctl enable-linger $LOGNAME"
  fi
}
