# Goes with ground.sh: the service and its units.

privileged() {
  if [ "$sudo" = yes ]; then (limited sudo -n "$@"); else (limited "$@"); fi
}

systemctl_() {
  if [ "$scope" = user ]; then
    runtime_folder
    privileged systemctl --user "$@"
  else
    privileged systemctl "$@"
  fi
}

last_words() {
  kind=--unit
  if [ "$scope" = user ]; then kind=--user-unit; fi
  journalctl "$kind" "$1" --lines 20 --no-pager --output cat >&2 2>/dev/null || :
}

# --- units that come with a release -----------------------------------------------------------------------------------
# They are links through `current`, so that the one rename switches them too, and brings them back.

unit_home() {
  if [ "$scope" = user ]; then printf '%s\n' "${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"
  else printf '%s\n' /etc/systemd/system
  fi
}

# A release keeps the name of the folder that its units are in, as it keeps its commands.
keep_units() {
  if [ -n "$units" ]; then replace_line "$state/units/$1" "$units"
  elif [ -e "$state/units/$1" ]; then rm "$state/units/$1"
  fi
}

unit_folder() { if read_line "$state/units/$1"; then printf '%s\n' "$line"; fi; }

# units_of RELEASE [SUFFIX...]: the names of its units and of folders with drop-ins.
units_of() (
  of=$1
  shift
  [ "$#" -gt 0 ] || set -- service socket timer path target slice d
  folder=$(unit_folder "$of")
  [ -n "$folder" ] && cd "$root/releases/$of/$folder" 2>/dev/null || exit 0
  for kind; do
    for name in *."$kind"; do
      if [ -e "$name" ]; then printf '%s\n' "$name"; fi
    done
  done
)

# Names under which something is linked here that leads through `current`.
linked_units() (
  cd "$(unit_home)" 2>/dev/null || exit 0
  for name in *; do
    case $(readlink "$name" 2>/dev/null) in "$root/current/"*) printf '%s\n' "$name" ;; esac
  done
)

# check_units RELEASE: nothing that was put there by hand is in the way, and the service has its unit.
check_units() {
  home=$(unit_home)
  for name in $(units_of "$1"); do
    case $name in *[!A-Za-z0-9:_.@\\-]*) refuse 78 "$name is no name of a unit" ;; esac
    case $(readlink "$home/$name" 2>/dev/null) in
      "$root/current/"*) ;;
      *) [ ! -e "$home/$name" ] || refuse 78 "$home/$name is not linked into $root/current: move it away" ;;
    esac
  done
  [ -z "$units" ] || [ "$(ask_systemd show --property=LoadState "$unit")" = LoadState=loaded ] ||
    [ -f "$root/releases/$1/$units/$unit" ] || refuse 78 "the unit $unit is neither here nor in $units of the release"
}

# leave_units RELEASE: end and unlink what that release does not bring.
leave_units() {
  gone=''
  stays=" $(units_of "$1" | tr '\n' ' ')"
  for name in $(linked_units); do
    case $stays in *" $name "*) continue ;; esac
    case $name in
      *.d) privileged rm -f "$(unit_home)/$name" ;;
      *)
        if ask_systemd is-active --quiet "$name"; then systemctl_ stop "$name"; fi
        systemctl_ disable "$name"
        ;;
    esac
    gone=yes
  done
}

# take_units RELEASE FORMER: link what the release that is `current` by now brings, and have systemd read it.
take_units() {
  [ -n "$(units_of "$1")$gone" ] || return 0
  home=$(unit_home) folder=$(unit_folder "$1") fresh=''
  if [ "$scope" = user ]; then mkdir -p "$home"; fi
  for name in $(units_of "$1"); do
    [ "$(readlink "$home/$name" 2>/dev/null)" != "$root/current/$folder/$name" ] || continue
    privileged ln -sfn "$root/current/$folder/$name" "$home/$name"
    fresh="$fresh $name"
  done
  systemctl_ daemon-reload
  for name in $fresh; do
    if grep -qs '^\[Install\]' "$root/current/$folder/$name"; then systemctl_ enable "$name"; fi
  done
  start_listeners "$1" "$2"
}

# What starts the service by itself stays up while the service is restarted: connections wait in its sockets. One that
# is new or another one takes its place while the service is down, which would hold its port otherwise.
start_listeners() {
  for name in $(units_of "$1" socket timer path); do
    if ask_systemd is-active --quiet "$name" &&
      cmp -s "$root/releases/$1/$folder/$name" "$root/releases/$2/$(unit_folder "$2")/$name"; then continue; fi
    systemctl_ stop "$unit"
    systemctl_ restart "$name"
  done
}

# --- the service ----------------------------------------------------------------------------------------------------

# command_ COMMAND RELEASE: by the shell, in the release's environment.
command_() {
  [ -n "$1" ] || return 0
  # shellcheck disable=SC2016 # the inner shell's own words
  (cd "$root" && limited sh -c 'if [ -f "$1" ]; then set -a; . "$1"; set +a; fi; eval "$2"' \
    sh "$root/releases/$2/fraisier.env" "$1") >>"$state/service.log" 2>&1 </dev/null && return 0
  status=$?
  tail -n 20 "$state/service.log" >&2
  return "$status"
}

# start_service NAME: out of that release, which `current` points to.
start_service() {
  if [ -n "$unit" ]; then
    if ask_systemd is-failed --quiet "$unit"; then systemctl_ reset-failed "$unit"; fi
    systemctl_ restart "$unit" || {
      failed=$?
      last_words "$unit"
      return "$failed"
    }
  else
    command_of "$1" start
    command_ "$text" "$1"
  fi
}

# stop_service OWN OTHER: with no unit, by what runs' own stop command, and where that fails by that of another release.
stop_service() {
  command_of "$2" stop
  other=$text
  command_ "$1" "$running" || {
    failed=$?
    [ "$1" != "$other" ] && command_ "$other" "$2" || return "$failed"
  }
}

# stop_unit: what would start it again goes first.
stop_unit() {
  for name in $(ask_systemd show --property=TriggeredBy --value "$unit"); do systemctl_ stop "$name"; done
  systemctl_ stop "$unit"
}

# A release keeps the commands that it was activated with: they bring it back, whatever a later manifest says.
keep_commands() {
  if [ -f "$state/commands/$1.stop" ]; then
    keep_command "$1.start" "$start"
    keep_command "$1.stop" "$stop"
  else
    write_line "$state/commands/$1.start" "$start"
    write_line "$state/commands/$1.stop" "$stop"
  fi
}

keep_command() {
  read_text "$state/commands/$1"
  [ "$text" = "$2" ] || replace_line "$state/commands/$1" "$2"
}

# command_of RELEASE start|stop, into `text`: the release's own, or the given one where it kept none.
command_of() {
  if [ -f "$state/commands/$1.$2" ]; then read_text "$state/commands/$1.$2"
  elif [ "$2" = start ]; then text=$start
  else text=$stop
  fi
}
