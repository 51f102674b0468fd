# Goes with ground.sh: how a step outlives the login that began it, and how systemd is asked.

: "${LOGNAME:=$(id -un)}"

lingers() { [ -e "/var/lib/systemd/linger/$LOGNAME" ]; }

# Into a scope of the user's own manager: a login's scope may be ended with its connection. Only where the manager
# stays when nobody is logged in; else it would end the step sooner than the login does.
detach() {
  if lingers && has busctl; then
    runtime_folder
    if busctl --user call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \
      StartTransientUnit 'ssa(sv)a(sa(sv))' "fraisier-$$.scope" fail 2 \
      PIDs au 1 "$$" CollectMode s inactive-or-failed 0 >/dev/null 2>&1; then leave_login; fi
  fi
}

# The manager answers before it has moved us, ten seconds at most. What is begun until then stays in the login, and its
# end would be ours.
leave_login() {
  waited=0
  while in_login && [ "$waited" -lt 200 ]; do
    sleep 0.05 2>/dev/null || { sleep 1 && waited=$((waited + 19)); }
    waited=$((waited + 1))
  done
}

in_login() {
  while IFS= read -r line; do
    case $line in */session-*.scope) return 0 ;; esac
  done 2>/dev/null <"/proc/$$/cgroup"
  return 1
}

# Where the user's own manager answers.
runtime_folder() {
  [ -n "${XDG_RUNTIME_DIR:-}" ] || XDG_RUNTIME_DIR=/run/user/$(id -u)
  export XDG_RUNTIME_DIR
}

ask_systemd() {
  if [ "$scope" = user ]; then
    runtime_folder
    systemctl --user "$@"
  else
    systemctl "$@"
  fi
}

service_is_up() { [ -z "$unit" ] || ask_systemd is-active --quiet "$unit"; }
